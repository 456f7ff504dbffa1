-- What a store needs of a database: transactions, bytea, and unique indexes. Nothing here outlives a transaction but
-- rows, so that a pooler may give each transaction another connection.

-- The processes that may own something, and until when, by this database's clock.
CREATE TABLE dispatch.node (
    token uuid PRIMARY KEY,
    name text NOT NULL,
    lease_until timestamptz NOT NULL
);

-- Who owns a partition, and how far its journal goes. Number 16 stands for what belongs to no partition. The only
-- rows that a commit changes in place.
CREATE TABLE dispatch.partition (
    number smallint PRIMARY KEY,
    owner uuid,
    -- Grows with each owner.
    epoch bigint NOT NULL DEFAULT 0,
    newest bigint NOT NULL DEFAULT 0,
    -- The owner's last commit that touched it: none is done twice.
    last_commit bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

INSERT INTO dispatch.partition (number) SELECT generate_series(0, 16);

-- The journal: what each partition has of a chunk. It is compressed already.
CREATE TABLE dispatch.journal (
    first bigint NOT NULL,
    partition smallint NOT NULL,
    entries bytea NOT NULL,
    PRIMARY KEY (first, partition)
);

ALTER TABLE dispatch.journal ALTER COLUMN entries SET STORAGE EXTERNAL;

-- What leads to the journal, and what is known of the store itself.
CREATE TABLE dispatch.index_row (
    key bytea PRIMARY KEY,
    value bytea NOT NULL
);

-- What is kept beside workflows.
CREATE TABLE dispatch.setting (
    key bytea PRIMARY KEY,
    value bytea NOT NULL
);

-- What was open at some moment, for a quicker start: the generation that is current, and perhaps one that is being
-- written.
CREATE TABLE dispatch.checkpoint (
    generation bigint NOT NULL,
    number integer NOT NULL,
    block bytea NOT NULL,
    PRIMARY KEY (generation, number)
);

CREATE TABLE dispatch.current_checkpoint (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    generation bigint NOT NULL
);

ALTER TABLE dispatch.checkpoint ALTER COLUMN block SET STORAGE EXTERNAL;

-- Takes every partition for a process, if nobody's lease holds one; returns who holds one otherwise. Who only waits locks
-- nothing.
CREATE FUNCTION dispatch.acquire(by uuid, by_name text, lease interval) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    holder text;
BEGIN
    SELECT n.name INTO holder
    FROM dispatch.node n
    WHERE n.lease_until >= clock_timestamp() AND n.token IN (SELECT owner FROM dispatch.partition)
    LIMIT 1;
    IF holder IS NOT NULL THEN
        RETURN holder;
    END IF;
    -- In the order of the numbers, as everybody locks them; and the lease, which may be renewed at this moment.
    PERFORM 1 FROM dispatch.partition ORDER BY number FOR UPDATE;
    PERFORM 1 FROM dispatch.node ORDER BY token FOR UPDATE;
    SELECT n.name INTO holder
    FROM dispatch.node n
    WHERE n.lease_until >= clock_timestamp() AND n.token IN (SELECT owner FROM dispatch.partition)
    LIMIT 1;
    IF holder IS NOT NULL THEN
        RETURN holder;
    END IF;
    -- Whoever had them renews nothing any more.
    DELETE FROM dispatch.node;
    INSERT INTO dispatch.node VALUES (by, by_name, clock_timestamp() + lease);
    UPDATE dispatch.partition SET owner = by, epoch = epoch + 1, last_commit = 0;
    RETURN NULL;
END
$$;

-- Notes a commit in the partitions that it touches, or fails: if they are another's (DF001), or if it is not the next one
-- there (DF002): done before, or of a database that has lost the one before it.
CREATE FUNCTION dispatch.fence(by uuid, touched smallint[], commit_number bigint, new_newest bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    found integer;
    last bigint;
BEGIN
    -- What is acknowledged is on the disk, whatever this database does for others.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM 1 FROM dispatch.partition WHERE number = ANY (touched) ORDER BY number FOR UPDATE;
    SELECT max(p.last_commit) INTO last
    FROM dispatch.partition p WHERE (p.number = 16) = (16 = ANY (touched));
    IF last IS DISTINCT FROM commit_number - 1 THEN
        RAISE EXCEPTION 'the last commit here is number %', last USING ERRCODE = 'DF002';
    END IF;
    UPDATE dispatch.partition
    SET last_commit = commit_number, newest = greatest(newest, new_newest)
    WHERE number = ANY (touched) AND owner = by;
    GET DIAGNOSTICS found = ROW_COUNT;
    IF found <> cardinality(touched) THEN
        RAISE EXCEPTION 'not the owner' USING ERRCODE = 'DF001';
    END IF;
END
$$;

-- One commit of the journal. Without a value a key is removed.
CREATE FUNCTION dispatch.commit(
    by uuid, touched smallint[], commit_number bigint, new_newest bigint,
    firsts bigint[], partitions smallint[], chunks bytea[],
    keys bytea[], key_values bytea[], trim_to bigint
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dispatch.fence(by, touched, commit_number, new_newest);
    IF cardinality(firsts) > 0 THEN
        INSERT INTO dispatch.journal (first, partition, entries)
        SELECT * FROM unnest(firsts, partitions, chunks);
    END IF;
    IF cardinality(keys) > 0 THEN
        INSERT INTO dispatch.index_row AS stored (key, value)
        SELECT * FROM unnest(keys, key_values) AS put (key, value) WHERE put.value IS NOT NULL
        ON CONFLICT (key) DO UPDATE SET value = excluded.value;
        IF array_position(key_values, NULL) IS NOT NULL THEN
            DELETE FROM dispatch.index_row
            WHERE key IN (SELECT put.key FROM unnest(keys, key_values) AS put (key, value) WHERE put.value IS NULL);
        END IF;
    END IF;
    IF trim_to IS NOT NULL THEN
        DELETE FROM dispatch.journal WHERE first <= trim_to;
    END IF;
END
$$;

-- One change of what is kept beside workflows.
CREATE FUNCTION dispatch.change_settings(
    by uuid, touched smallint[], commit_number bigint, keys bytea[], key_values bytea[]
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dispatch.fence(by, touched, commit_number, 0);
    INSERT INTO dispatch.setting AS stored (key, value)
    SELECT * FROM unnest(keys, key_values) AS put (key, value) WHERE put.value IS NOT NULL
    ON CONFLICT (key) DO UPDATE SET value = excluded.value;
    DELETE FROM dispatch.setting
    WHERE key IN (SELECT put.key FROM unnest(keys, key_values) AS put (key, value) WHERE put.value IS NULL);
END
$$;

-- The last chunk that does not begin behind an entry, and those that follow, until they are some bytes: whole
-- chunks, and two at least. Some rows at a time: a plan for all that follow would sort the table.
CREATE FUNCTION dispatch.chunks(from_entry bigint, bytes bigint) RETURNS SETOF dispatch.journal
LANGUAGE plpgsql STABLE AS $$
DECLARE
    part dispatch.journal;
    at bigint := (SELECT j.first FROM dispatch.journal j WHERE j.first <= from_entry ORDER BY j.first DESC LIMIT 1);
    behind_first bigint := coalesce(at, from_entry);
    behind_partition smallint := -1;
    begun integer := 0;
    room bigint := bytes;
    rows_read integer;
BEGIN
    at := NULL;
    LOOP
        rows_read := 0;
        FOR part IN
            SELECT * FROM dispatch.journal j
            WHERE (j.first, j.partition) > (behind_first, behind_partition)
            ORDER BY j.first, j.partition LIMIT 64
        LOOP
            rows_read := rows_read + 1;
            IF at IS DISTINCT FROM part.first THEN
                IF room <= 0 AND begun >= 2 THEN
                    RETURN;
                END IF;
                at := part.first;
                begun := begun + 1;
            END IF;
            room := room - octet_length(part.entries);
            behind_first := part.first;
            behind_partition := part.partition;
            RETURN NEXT part;
        END LOOP;
        EXIT WHEN rows_read < 64;
    END LOOP;
END
$$;

-- The parts that have some entries, if there are such. As the other functions, so that a connection plans it once.
CREATE FUNCTION dispatch.parts_with(partitions smallint[], cursors bigint[]) RETURNS SETOF dispatch.journal
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    WITH places AS (
        SELECT DISTINCT wanted.partition, (
            SELECT j.first FROM dispatch.journal j
            WHERE j.partition = wanted.partition AND j.first <= wanted.cursor
            ORDER BY j.first DESC LIMIT 1
        ) AS first
        FROM unnest(partitions, cursors) AS wanted (partition, cursor)
    )
    SELECT j.* FROM places JOIN dispatch.journal j USING (first, partition) ORDER BY j.first, j.partition;
END
$$;

-- The values under some keys, in their order.
CREATE FUNCTION dispatch.index_values(keys bytea[]) RETURNS SETOF bytea
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT stored.value FROM unnest(keys) WITH ORDINALITY AS wanted (key, number)
    LEFT JOIN dispatch.index_row stored ON stored.key = wanted.key
    ORDER BY wanted.number;
END
$$;

-- The keys of contents: files, in blocks of 4,096 bytes. A number belongs to one file for ever.
CREATE TABLE dispatch.key_file (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    length bigint NOT NULL
);

CREATE TABLE dispatch.key_block (
    file bigint NOT NULL,
    number bigint NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (file, number)
);

-- Nothing random gets smaller.
ALTER TABLE dispatch.key_block ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Removes a file, if there is one of that name.
CREATE FUNCTION dispatch.remove_key_file(by uuid, touched smallint[], commit_number bigint, file_name text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dispatch.fence(by, touched, commit_number, 0);
    DELETE FROM dispatch.key_block WHERE file IN (SELECT f.number FROM dispatch.key_file f WHERE f.name = file_name);
    DELETE FROM dispatch.key_file WHERE name = file_name;
END
$$;

-- A new file, in the place of one of that name.
CREATE FUNCTION dispatch.put_key_file(
    by uuid, touched smallint[], commit_number bigint, file_name text, file_length bigint, numbers bigint[], blocks bytea[]
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    new bigint;
BEGIN
    PERFORM dispatch.remove_key_file(by, touched, commit_number, file_name);
    INSERT INTO dispatch.key_file (name, length) VALUES (file_name, file_length) RETURNING number INTO new;
    INSERT INTO dispatch.key_block (file, number, bytes)
    SELECT new, block.number, block.bytes FROM unnest(numbers, blocks) AS block (number, bytes);
END
$$;

-- Puts blocks into a file, which is so long then at least.
CREATE FUNCTION dispatch.overwrite_key_file(
    by uuid, touched smallint[], commit_number bigint, of_file bigint, file_length bigint, numbers bigint[], blocks bytea[]
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dispatch.fence(by, touched, commit_number, 0);
    UPDATE dispatch.key_file SET length = file_length WHERE number = of_file AND length < file_length;
    INSERT INTO dispatch.key_block AS stored (file, number, bytes)
    SELECT of_file, block.number, block.bytes FROM unnest(numbers, blocks) AS block (number, bytes)
    ON CONFLICT (file, number) DO UPDATE SET bytes = excluded.bytes;
END
$$;
