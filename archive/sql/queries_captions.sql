-- Queries of captions.

-- name: lock_captions$
-- Let nobody else change a recording's captions until this transaction is over. Answers nothing when it is deleted.
select stream_id from recordings where stream_id = :stream_id and deleted_at is null for update;

-- name: count_captions$
-- In how many languages a recording has captions.
select count(*) from recording_files where stream_id = :stream_id and role = 'captions';

-- name: add_captions!
-- A captions file, or its playlist, is in the store.
insert into recording_files (stream_id, name, role, size_bytes, particulars)
values (:stream_id, :name, :role, :size_bytes, :particulars);

-- name: drop_captions
-- A recording has no captions in this language any more; their objects.
delete from recording_files
where stream_id = :stream_id and role in ('captions', 'captions-playlist') and particulars ->> 'language' = :language
returning name;
