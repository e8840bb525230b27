-- Erasing a person's streams and placing a hold take turns: the hold is seen, or whoever places it is told what is gone.

-- Erases ended streams of a channel that no hold keeps, at most `rows_max`; answers how many.
create or replace function erase_streams(erased_channel_id uuid, rows_max integer) returns integer
language plpgsql as $$
declare
    gone uuid[];
begin
    -- From here to the end no hold is placed; one that is being placed is waited for, and seen by what follows.
    lock table retention_holds in share mode;
    with due as (
        select stream_id from streams
        where channel_id = erased_channel_id and status = 'ended' and not is_held(stream_id, channel_id)
        limit rows_max
    ), deleted as (
        delete from streams s using due where s.stream_id = due.stream_id returning s.stream_id
    )
    select coalesce(array_agg(stream_id), '{}') into gone from deleted;
    perform drop_stream_rows(gone);
    return cardinality(gone);
end
$$;

-- The same among the next `rows_max` cold streams of everybody, by their ids: no index knows their channels. Answers the
-- last id that was looked at; null: there are no more.
create or replace function erase_cold_streams(erased_channel_id uuid, after_id uuid, rows_max integer) returns uuid
language plpgsql as $$
declare
    last_id uuid;
    gone uuid[];
begin
    lock table retention_holds in share mode;
    select stream_id into last_id from (
        select stream_id from streams_cold where stream_id > after_id order by stream_id limit rows_max
    ) as seen order by stream_id desc limit 1;
    with deleted as (
        delete from streams_cold
        where stream_id > after_id and stream_id <= last_id and channel_id = erased_channel_id
          and not is_held(stream_id, channel_id)
        returning stream_id
    )
    select coalesce(array_agg(stream_id), '{}') into gone from deleted;
    perform drop_stream_rows(gone);
    return last_id;
end
$$;
