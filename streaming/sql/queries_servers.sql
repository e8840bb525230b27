-- Queries of media servers.

-- name: list_servers_of_streams
-- Which of some streams are on at some media servers, and at which.
select stream_id, server from open_streams
where stream_id = any(:stream_ids::uuid[]) and server = any(:servers::text[]);
