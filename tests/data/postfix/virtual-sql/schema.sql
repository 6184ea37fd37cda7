CREATE TABLE domain (name TEXT PRIMARY KEY, active INTEGER);
CREATE TABLE mailbox (username TEXT PRIMARY KEY, maildir TEXT, active INTEGER);
CREATE TABLE alias (address TEXT PRIMARY KEY, goto TEXT, active INTEGER);
INSERT INTO domain VALUES ('one.test', 1), ('two.test', 1), ('off.test', 0);
INSERT INTO mailbox VALUES ('alice@one.test', 'one.test/alice/', 1), ('bob@two.test', 'two.test/bob/', 1),
    ('gone@two.test', 'two.test/gone/', 0);
INSERT INTO alias VALUES ('info@one.test', 'alice@one.test, bob@two.test', 1), ('sales@two.test', 'carol@far.test', 1),
    ('@two.test', 'bob@two.test', 0);
