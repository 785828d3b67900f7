-- The database of the service orders. Its user reads and adds; it changes and removes nothing.
create role orders login;
create database orders;
\connect orders
revoke all on schema public from public;
create table orders (
  id bigint generated always as identity primary key,
  owner text not null,
  item text not null check (length(item) between 1 and 100),
  quantity integer not null check (quantity between 1 and 10000),
  placed timestamptz not null default now()
);
grant connect on database orders to orders;
grant usage on schema public to orders;
grant select, insert on orders to orders;
insert into orders (owner, item, quantity)
select 'alice', (array['tea', 'coffee', 'sugar', 'milk'])[1 + n % 4], n from generate_series(1, 20) n;
