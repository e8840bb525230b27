"""What is counted of mail."""

from prometheus_client import Counter

mails_sent = Counter("livestream_notify_mails_sent", "Mails that the SMTP server took, by template.", ("template",))
mails_refused = Counter(
    "livestream_notify_mails_refused",
    "Mails that the SMTP server did not take, by the class of its answer.",
    ("answer",),
)
connections_made = Counter("livestream_notify_smtp_connections_made", "Connections made to the SMTP server.")
verifications_requested = Counter(
    "livestream_notify_mail_verifications_requested",
    "Mails to verify an address asked for, by what became of it.",
    ("outcome",),
)
mailboxes_bounced = Counter("livestream_notify_mailboxes_bounced", "Mailboxes given up because they do not exist.")
unsubscribed = Counter("livestream_notify_mail_unsubscribed", "Mailboxes unsubscribed by a link.")
digests_made = Counter("livestream_notify_digests_made", "Digests queued for sending.")
