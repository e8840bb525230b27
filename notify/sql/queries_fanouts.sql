-- name: admit_fanout^
-- Make a fan-out unless it is there; answers its state, and whether the connected are to be told by whoever asked live.
-- A channel that was renamed after what is told has its new name.
SELECT state, suppressed_because, is_new, announces
  FROM admit_fanout(:fanout_id, :kind, :stream_id, :channel_id,
                    coalesce((SELECT username FROM people WHERE user_id = :channel_id AND renamed_at > :started_at),
                             :channel_name), :title, :category, :started_at,
                    :cool_down, :day_max, :is_live);

-- name: find_fanout_state$
-- The state of a fan-out; null when it was not admitted yet.
SELECT state FROM fanouts WHERE fanout_id = :fanout_id;

-- name: begin_fanout^
-- Plan the first pages of a fan-out that was admitted and not begun; no row when there is nothing to begin.
SELECT g.page_after, g.pages_before, g.page_ends, g.is_complete
  FROM (SELECT fanout_id FROM fanouts WHERE fanout_id = :fanout_id AND begun_at IS NULL AND state = 'running'
           FOR NO KEY UPDATE) AS unbegun
  CROSS JOIN LATERAL go_on_with_fanout(unbegun.fanout_id, :page_followers, :window_pages) AS g;

-- name: go_on_with_fanout^
-- Plan the next pages of a fan-out, or end it when all is done.
SELECT page_after, pages_before, page_ends, is_complete
  FROM go_on_with_fanout(:fanout_id, :page_followers, :window_pages);

-- name: tell_page^
-- Tell a page of followers and plan on; answers what came of it.
SELECT verdict, told, has_queued, page_after, pages_before, page_ends, is_complete
  FROM tell_page(:fanout_id, :page_number, :after_follower_id, :last_follower_id, :push_lasts, :email_lasts,
                 :page_followers, :window_pages);

-- name: end_fanouts
-- A stream is over: nobody is told of its start any more. Answers the fan-outs that this has stopped.
UPDATE fanouts SET state = 'ended', state_changed_at = clock_timestamp()
 WHERE stream_id = :stream_id AND kind = 'stream.started' AND state IN ('running', 'paused')
RETURNING fanout_id;

-- name: change_fanout_state$
-- Move a fan-out from one of some states to another; answers its id, or null when it was in none of them.
UPDATE fanouts
   SET state = :state, state_changed_at = clock_timestamp(),
       paused_for = paused_for + CASE state WHEN 'paused' THEN clock_timestamp() - state_changed_at ELSE '0' END
 WHERE fanout_id = :fanout_id AND state = ANY(:states::text[])
RETURNING fanout_id;

-- name: list_held_pages
-- The pages that came while their fan-out was paused; never more than a window, or a step of before.
SELECT page_number, after_follower_id, last_follower_id
  FROM fanout_pages WHERE fanout_id = :fanout_id AND is_held
 ORDER BY page_number;

-- name: find_fanout^
-- How a fan-out stands.
SELECT f.fanout_id, f.kind, f.stream_id, f.channel_id, f.channel_name, f.title, f.category, f.state, f.suppressed_because,
       f.pages_expected, f.pages_planned, f.pages_done, f.recipients, f.audience, f.started_at, f.created_at, f.begun_at,
       f.planned_at, f.completed_at, f.state_changed_at, f.paused_for, now() AS read_at
  FROM fanouts f WHERE f.fanout_id = :fanout_id;

-- name: list_fanouts
-- A page of a channel's fan-outs, the newest first, below a (started_at, fanout_id).
SELECT f.fanout_id, f.kind, f.stream_id, f.channel_id, f.channel_name, f.title, f.category, f.state, f.suppressed_because,
       f.pages_expected, f.pages_planned, f.pages_done, f.recipients, f.audience, f.started_at, f.created_at, f.begun_at,
       f.planned_at, f.completed_at, f.state_changed_at, f.paused_for, now() AS read_at
  FROM fanouts f
 WHERE f.channel_id = :channel_id AND (f.started_at, f.fanout_id) < (:before_started_at, :before_fanout_id)
 ORDER BY f.started_at DESC, f.fanout_id DESC
 LIMIT :items_max;

-- name: count_held_pages$
-- How many pages came while their fan-out was paused.
SELECT count(*) FROM fanout_pages WHERE fanout_id = :fanout_id AND is_held;

-- name: list_fanout_outcomes
-- What became of the recipients of a fan-out: a handful of counts.
SELECT channel, outcome, recipients FROM fanout_outcomes WHERE fanout_id = :fanout_id ORDER BY channel, outcome LIMIT 100;
