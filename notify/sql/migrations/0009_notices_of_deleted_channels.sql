-- Removes what inboxes have of a deleted person's channel, also those of people who followed it once: among the notices of
-- some people, from one on; at most `rows_max` are looked at, and those of the last person. Answers that person, or null
-- behind the last. Of somebody whose channel told nobody anything nothing is looked at; else only the months in which it did.
CREATE FUNCTION erase_told(erased uuid, after_user_id uuid, rows_max integer) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    told      uuid[];
    last_id   uuid;
    oldest_id uuid;
    newest_id uuid;
BEGIN
    SELECT array_agg(fanout_id ORDER BY fanout_id) INTO told FROM fanouts WHERE channel_id = erased;
    IF told IS NULL THEN
        RETURN NULL;
    END IF;
    oldest_id := told[1];
    newest_id := told[cardinality(told)];
    SELECT user_id INTO last_id FROM (
        SELECT user_id FROM notices
         WHERE user_id > after_user_id AND notice_id BETWEEN oldest_id AND newest_id
         ORDER BY user_id LIMIT rows_max
    ) AS seen ORDER BY user_id DESC LIMIT 1;
    DELETE FROM notices
     WHERE user_id > after_user_id AND user_id <= last_id AND notice_id BETWEEN oldest_id AND newest_id
       AND notice_id = ANY (told);
    RETURN last_id;
END
$$;
