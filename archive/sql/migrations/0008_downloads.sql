-- Downloads are removed when their time is over, and what plays already gets its pictures.

-- Serves: take_expired_downloads. The time is written in UTC, always in the same form, so that texts sort as times do.
create index recording_files_downloads on recording_files ((particulars ->> 'expires_at')) where role = 'download';

-- Whenever there is time: what is recorded from now on goes first.
insert into jobs (stream_id, kind, work_ms, urgency)
select r.stream_id, k.kind, case k.kind when 'poster' then 1000 else r.duration_ms end, 2
from recordings as r
join renditions as n on n.stream_id = r.stream_id and n.name = 'source' and n.height_px > 0
cross join (values ('poster'), ('storyboard')) as k (kind)
where r.published_at is not null
on conflict do nothing;

insert into job_turns (stream_id, urgency)
select distinct stream_id, 2 from jobs where urgency = 2 and state = 'pending'
on conflict do nothing;
