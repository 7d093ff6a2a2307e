-- Up Migration
create table probe (id int);
