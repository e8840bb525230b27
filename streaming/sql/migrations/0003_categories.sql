-- What a stream is about, in the streamer's own word: said of the channel, and kept with each stream that begins.

alter table channels add column category text check (char_length(category) <= 50);
alter table streams add column category text;
