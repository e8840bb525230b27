-- The title that a channel's next stream gets, said in one place.

alter table channels add column next_title text not null generated always as (coalesce(title, name || ' is live')) stored;
