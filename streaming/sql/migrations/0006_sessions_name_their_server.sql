-- Sessions name their media server as the settings do. Until now they had the address that its hooks came from, and there
-- was one: without this, whoever is on during the upgrade would be nobody's and be dropped.
update open_streams set server = 'nginx-rtmp';

-- Serves: list_sessions, lock_open_stream_of_session.
create index open_streams_session on open_streams (server, client);
