-- Queries of access to private recordings, and of what the edge asks.

-- name: add_grant!
-- Whoever shows this may play the recording for a while.
insert into playback_grants (grant_sha256, stream_id, expires_at) values (:grant, :stream_id, :expires_at);

-- name: drop_surplus_grants!
-- Of one recording the latest grants stay.
delete from playback_grants
where grant_sha256 in (
    select grant_sha256 from playback_grants where stream_id = :stream_id
    order by created_at desc, grant_sha256 offset :grants_max);

-- name: find_grant$
-- Until when a grant opens a recording that is there.
select g.expires_at from playback_grants as g join recordings as r on r.stream_id = g.stream_id
where g.grant_sha256 = :grant and g.stream_id = :stream_id and g.expires_at > now() and r.deleted_at is null;

-- name: revoke_grants!
-- Nobody is let in to a recording any more.
delete from playback_grants where stream_id = :stream_id;

-- name: sweep_grants!
-- Grants that have expired, some at a time.
delete from playback_grants
where grant_sha256 in (select grant_sha256 from playback_grants where expires_at < now() limit :rows_max);

-- name: find_playback^
-- Who may play a recording, and whether a grant opens it.
select r.visibility, r.deleted_at is not null as deleted,
       exists (select from playback_grants as g
               where g.grant_sha256 = :grant and g.stream_id = r.stream_id and g.expires_at > now()) as granted
from recordings as r where r.stream_id = :stream_id;
