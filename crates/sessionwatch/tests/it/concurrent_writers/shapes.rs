//! Shapes of session tables on a server.

use sessionwatch_app::remediation::ActionError;

/// Shape of a session table on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Plain,
    /// Several heaps with equal tuple and transaction IDs, and a key that is unique over all of them.
    HashPartitioned,
    /// The same, without a column that is unique over all of them.
    RangePartitioned,
    /// The same, where neither unique index nor foreign key cover the children.
    Inherited,
    /// Children with equal IDs.
    InheritedAlike,
    /// A trigger prevents deletes of one user's sessions.
    VetoTrigger,
    /// A trigger updates a row instead of deleting it.
    RedirectTrigger,
    /// A trigger deletes the other sessions of the user too.
    SweepTrigger,
    /// A session refers to another one, and is deleted with it.
    SelfReference,
    /// Other tables refer to sessions, and to each other.
    Referenced,
    /// The same, with both sides partitioned.
    ReferencedPartitions,
    AlsoRule,
    InsteadRule,
    Generated,
    Identity,
    /// Only the token is unique.
    WithoutId,
    /// Half of the partitions are in another heap, by a default partition of a subpartitioned table.
    Nested,
}

/// Each shape, and the SQL that creates it from a plain table `old`, which is then dropped.
pub(super) const SHAPES: [(Shape, &str); 17] = [
    (Shape::Plain, ""),
    (Shape::HashPartitioned, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (id)) \
                 PARTITION BY HASH (id);
                 CREATE TABLE p0 PARTITION OF sessions FOR VALUES WITH (MODULUS 3, REMAINDER 0);
                 CREATE TABLE p1 PARTITION OF sessions FOR VALUES WITH (MODULUS 3, REMAINDER 1);
                 CREATE TABLE p2 PARTITION OF sessions FOR VALUES WITH (MODULUS 3, REMAINDER 2);
                 INSERT INTO sessions SELECT * FROM old"),
    (Shape::RangePartitioned, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS) PARTITION BY RANGE (\"userId\");
                 CREATE TABLE p0 PARTITION OF sessions FOR VALUES FROM (0) TO (10);
                 CREATE TABLE p1 PARTITION OF sessions FOR VALUES FROM (10) TO (20);
                 CREATE TABLE p2 PARTITION OF sessions DEFAULT;
                 INSERT INTO sessions SELECT * FROM old"),
    (Shape::Nested, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS) PARTITION BY LIST (\"userId\");
                 CREATE TABLE p0 PARTITION OF sessions FOR VALUES IN (1, 2, 3, 4, 5, 6, 7);
                 CREATE TABLE p1 PARTITION OF sessions DEFAULT PARTITION BY HASH (id);
                 CREATE TABLE p2 PARTITION OF p1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE p3 PARTITION OF p1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
                 INSERT INTO sessions SELECT * FROM old"),
    (Shape::Inherited, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (id));
                 CREATE TABLE dead () INHERITS (sessions);
                 CREATE TABLE live () INHERITS (sessions);
                 INSERT INTO dead SELECT * FROM old WHERE expires < now();
                 INSERT INTO live SELECT * FROM old WHERE expires >= now()"),
    (Shape::InheritedAlike, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (id));
                 CREATE TABLE dead () INHERITS (sessions);
                 CREATE TABLE live () INHERITS (sessions);
                 INSERT INTO dead SELECT * FROM old WHERE expires < now();
                 INSERT INTO live SELECT * FROM old WHERE expires >= now()"),
    (Shape::VetoTrigger, "CREATE TABLE sessions (LIKE old INCLUDING ALL);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE FUNCTION hook() RETURNS trigger LANGUAGE plpgsql AS $$ \
                   BEGIN IF OLD.\"userId\" = 7 THEN RETURN NULL; END IF; RETURN OLD; END $$;
                 CREATE TRIGGER hook BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION hook()"),
    (Shape::RedirectTrigger, "CREATE TABLE sessions (LIKE old INCLUDING ALL);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE FUNCTION hook() RETURNS trigger LANGUAGE plpgsql AS $$ \
                   BEGIN UPDATE public.sessions SET seen = -1 WHERE id = OLD.id; RETURN NULL; END $$;
                 CREATE TRIGGER hook BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION hook()"),
    (Shape::SweepTrigger, "CREATE TABLE sessions (LIKE old INCLUDING ALL);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE FUNCTION hook() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.sessions \
                   WHERE \"userId\" = OLD.\"userId\"; RETURN NULL; END $$;
                 CREATE TRIGGER hook AFTER DELETE ON sessions FOR EACH ROW WHEN (pg_trigger_depth() = 0) \
                   EXECUTE FUNCTION hook()"),
    (Shape::SelfReference, "CREATE TABLE sessions (LIKE old INCLUDING ALL, \
                 parent text REFERENCES sessions (id) ON DELETE CASCADE);
                 INSERT INTO sessions SELECT *, NULL FROM old;
                 UPDATE sessions SET parent = 's' || (substr(id, 2)::int - 1) WHERE substr(id, 2)::int % 50 = 0"),
    (Shape::Referenced, "CREATE TABLE sessions (LIKE old INCLUDING ALL);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE TABLE carts (id serial PRIMARY KEY, session text REFERENCES sessions (id) ON DELETE CASCADE, \
                   note text NOT NULL DEFAULT '');
                 CREATE TABLE items (cart integer REFERENCES carts (id) ON DELETE CASCADE, \
                   session text REFERENCES sessions (id) ON DELETE CASCADE, name text);
                 CREATE TABLE orders (id serial PRIMARY KEY, session text REFERENCES sessions (id) ON DELETE SET NULL);
                 INSERT INTO carts (session) SELECT id FROM old; INSERT INTO orders (session) SELECT id FROM old;
                 INSERT INTO items SELECT id, session, 'a' FROM carts; \
                 INSERT INTO items SELECT id, NULL, 'b' FROM carts;
                 INSERT INTO items SELECT * FROM items WHERE cart % 5 = 0"),
    (Shape::ReferencedPartitions, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (id)) \
                 PARTITION BY HASH (id);
                 CREATE TABLE p0 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE p1 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 1);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE TABLE carts (id serial PRIMARY KEY, session text REFERENCES sessions (id) ON DELETE CASCADE, \
                   note text NOT NULL DEFAULT '') PARTITION BY HASH (id);
                 CREATE TABLE c0 PARTITION OF carts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE c1 PARTITION OF carts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
                 CREATE TABLE items (cart integer REFERENCES carts (id) ON DELETE CASCADE, session text, name text);
                 INSERT INTO carts (session) SELECT id FROM old; INSERT INTO items SELECT id, session, 'a' FROM carts"),
    (Shape::AlsoRule, "CREATE TABLE sessions (LIKE old INCLUDING ALL);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE TABLE gone (id text);
                 CREATE RULE hook AS ON DELETE TO sessions DO ALSO INSERT INTO gone VALUES (OLD.id)"),
    (Shape::InsteadRule, "CREATE TABLE sessions (LIKE old INCLUDING ALL);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE RULE hook AS ON DELETE TO sessions DO INSTEAD NOTHING"),
    (Shape::Generated, "CREATE TABLE sessions (LIKE old INCLUDING ALL, \
                 shown text GENERATED ALWAYS AS (upper(id)) STORED);
                 INSERT INTO sessions SELECT * FROM old"),
    (Shape::Identity, "CREATE TABLE sessions (LIKE old INCLUDING ALL, number bigint GENERATED ALWAYS AS IDENTITY);
                 INSERT INTO sessions SELECT * FROM old"),
    (Shape::WithoutId, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (\"sessionToken\"));
                 INSERT INTO sessions SELECT * FROM old"),
];

impl Shape {
    /// Returns `true` if a plan may end with this error, without any change.
    pub(super) fn may_refuse(self, error: &ActionError) -> bool {
        match error {
            ActionError::ChangesOtherRows(_) => {
                matches!(self, Self::RedirectTrigger | Self::SweepTrigger | Self::SelfReference)
            }
            ActionError::HiddenByRule(_) => matches!(self, Self::AlsoRule | Self::InsteadRule),
            _ => false,
        }
    }
}
