-- Segments that were streamed and will not be in the recording, unless they turn up after all.

-- The shipper writes a row when it gives a segment up, and removes it when the segment is in the store. A number that
-- has a row in `segments` is there, whatever this table says.
create table lost_segments (
    stream_id uuid not null,
    sequence integer not null check (sequence >= 0),
    reason text not null,
    duration_ms integer check (duration_ms >= 0),   -- null: nobody has seen it named
    lost_at timestamptz not null default now(),
    primary key (stream_id, sequence)
) partition by range (stream_id);

create table lost_segments_default partition of lost_segments default;

-- As before, for every table of this schema that is partitioned by `stream_id`: a new one needs no new function.
create or replace function make_archive_partitions(months_ahead integer) returns setof text
language plpgsql as $$
declare
    this_month timestamp := date_trunc('month', now() at time zone 'UTC');
    month timestamp;
    parent text;
    partition text;
begin
    perform pg_advisory_xact_lock(hashtextextended('archive.make_archive_partitions', 0));
    for ahead in 0..months_ahead loop
        month := this_month + make_interval(months => ahead);
        for parent in
            select c.relname
            from pg_partitioned_table as p
            join pg_class as c on c.oid = p.partrelid
            join pg_attribute as a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
            where c.relnamespace = current_schema()::regnamespace and p.partstrat = 'r' and a.attname = 'stream_id'
            order by c.relname
        loop
            partition := parent || '_' || to_char(month, 'YYYY_MM');
            continue when to_regclass(quote_ident(partition)) is not null;
            begin
                execute format(
                    'create table %I partition of %I for values from (%L) to (%L)',
                    partition, parent,
                    uuid7_floor(month at time zone 'UTC'),
                    uuid7_floor((month + interval '1 month') at time zone 'UTC')
                );
                return next partition;
            exception when check_violation then
                -- Rows of that month are in the default partition already; they stay there and are found there.
                null;
            end;
        end loop;
    end loop;
end
$$;

select make_archive_partitions(2);
