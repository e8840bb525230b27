-- A recording that its owner deleted is not shown with its stream; it may be restored.
alter table recordings add column deleted boolean not null default false;
