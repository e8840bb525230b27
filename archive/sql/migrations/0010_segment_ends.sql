-- When each segment was recorded, so that whoever plays a recording can be told what was said at that moment.
alter table segments add column ended_at timestamptz;  -- when the media server had written it; null: nobody knows
