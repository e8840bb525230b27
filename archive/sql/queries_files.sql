-- Queries of the files beside the renditions: posters, storyboards, downloads.

-- name: add_file!
-- An object is in the store; of a recording that is purged nothing is kept.
insert into recording_files (stream_id, name, role, size_bytes, particulars)
select :stream_id, :name, :role, :size_bytes, :particulars::jsonb
where exists (select from recordings where stream_id = :stream_id and purged_at is null)
on conflict (stream_id, name) do update
set role = excluded.role, size_bytes = excluded.size_bytes, particulars = excluded.particulars, made_at = now();

-- name: forget_other_files!
-- What was made before under other names and has been made again.
delete from recording_files
where stream_id = :stream_id and role = any(:roles::text[]) and name <> all(:names::text[])
  and particulars ->> 'rendition' is not distinct from :rendition;

-- name: find_download^
-- How far the download of one rendition is; `name` is null where there is no file of it (any more).
select j.state, j.progress, j.failure, f.name, f.size_bytes, f.particulars ->> 'expires_at' as expires_at
from jobs as j
left join recording_files as f
    on f.stream_id = j.stream_id and f.role = 'download' and f.particulars ->> 'rendition' = :rendition
where j.stream_id = :stream_id and j.kind = 'download' and j.number = :number
order by f.made_at desc limit 1;

-- name: lock_download!
-- Let its worker finish before or after us, and not in between.
select from jobs where stream_id = :stream_id and kind = 'download' and number = :number for update;

-- name: keep_download!
-- Somebody wants it: it stays until then.
update recording_files set particulars = jsonb_set(particulars, '{expires_at}', to_jsonb(:expires_at::text))
where stream_id = :stream_id and role = 'download' and particulars ->> 'rendition' = :rendition;

-- name: take_expired_downloads
-- Downloads whose time is over; from now on nothing names them, and their objects are to be removed.
delete from recording_files as f
using (
    select stream_id, name from recording_files
    where role = 'download' and particulars ->> 'expires_at' < :now
    order by particulars ->> 'expires_at' limit :rows_max for update skip locked) as expired
where f.stream_id = expired.stream_id and f.name = expired.name
returning f.stream_id, f.name;
