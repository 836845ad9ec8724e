//! Every section and key of the configuration file: checking, the example, the schema and the reference are made from
//! this list.

/// What a key may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number within these bounds.
    Whole(u64, u64),
    /// A number within these bounds.
    Decimal(f64, f64),
    /// A time within these bounds, in seconds.
    Span(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// How an instant is stored: one of [`DECODERS`], or `timestamp-local:` with a time zone.
    Decoder,
    /// A list of texts.
    Texts,
}

/// What holds where a key is not written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Otherwise {
    /// This value, as TOML.
    Value(&'static str),
    /// What these words say; the second is a value to show in examples.
    Words(&'static str, &'static str),
    /// Nothing: it must be written. A value to show in examples.
    Required(&'static str),
}

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What holds without it.
    pub otherwise: Otherwise,
    /// What it is for, with its unit.
    pub about: &'static str,
}

impl Key {
    /// Whether its value may be an address with a password, or another secret.
    #[must_use]
    pub fn holds_address(&self) -> bool {
        self.name.ends_with("url") || ["store", "secret", "client_secret"].contains(&self.name)
    }
}

/// A section.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its dotted path; empty for the top of the file.
    pub path: &'static str,
    /// Written as `[[path]]`, any number of times.
    pub repeated: bool,
    /// What it is for.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

const SEVERITIES: &[&str] = &["low", "medium", "high", "critical"];
/// The decoders that name no zone.
pub const DECODERS: &[&str] =
    &["timestamptz", "timestamp-utc", "epoch-s", "epoch-ms", "iso-text", "epoch-ms-or-iso"];
const COUNT: Kind = Kind::Whole(0, 1_000_000_000_000);
const DAYS: Kind = Kind::Whole(1, 36_500);

const fn key(name: &'static str, kind: Kind, otherwise: Otherwise, about: &'static str) -> Key {
    Key { name, kind, otherwise, about }
}

const fn optional(name: &'static str, example: &'static str, about: &'static str) -> Key {
    key(name, Kind::Text, Otherwise::Words("not used", example), about)
}

const fn severity(default: &'static str) -> Key {
    key(
        "severity",
        Kind::Choice(SEVERITIES),
        Otherwise::Value(default),
        "How bad a finding is; decides who is told, and how fast",
    )
}

const fn check(path: &'static str, about: &'static str, keys: &'static [Key]) -> Section {
    Section { path, repeated: false, about, keys }
}

/// A week.
const LONGEST: u64 = 604_800;
const EVERY: Key = key(
    "every",
    Kind::Span(60, LONGEST),
    Otherwise::Words("the target's", "\"1h\""),
    "Its own rhythm in the watch",
);
const CRON: Key = key(
    "cron",
    Kind::Text,
    Otherwise::Words("not used", "\"0 6 * * mon\""),
    "Instead of `every`, its own times",
);
const ENABLED: Key = key("enabled", Kind::Flag, Otherwise::Value("true"), "Whether the check runs");

const SIGNALS: Key = key("max", COUNT, Otherwise::Value("0"), "Signals that are tolerated");
const LOG_WINDOW: Key = key(
    "window",
    Kind::Span(60, LONGEST),
    Otherwise::Value("\"1h\""),
    "Time over which they are counted, by when they were read",
);

/// Every section, in the order of the example.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "",
        repeated: false,
        about: "sessionwatch.toml",
        keys: &[key(
            "profiles",
            Kind::Texts,
            Otherwise::Value("[]"),
            "Files of profiles of your own, beside those that are built in; relative to this file",
        )],
    },
    Section { path: "target", repeated: true, about: "A database that holds sessions", keys: TARGET },
    Section {
        path: "target.mapping",
        repeated: false,
        about: "The tables and columns, where no profile fits; a `profile` beside it says which framework uses them",
        keys: MAPPING,
    },
    Section {
        path: "target.cleanup",
        repeated: false,
        about: "Cleanup by `serve` itself; off unless switched on here",
        keys: CLEANUP,
    },
    check(
        "checks.duplicate-tokens",
        "Tokens on more than one row",
        &[
            ENABLED,
            EVERY,
            CRON,
            severity("\"critical\""),
            key("max", COUNT, Otherwise::Value("0"), "Tokens that are tolerated"),
        ],
    ),
    check(
        "checks.token-rebound",
        "Tokens whose user changed between two looks of the watch",
        &[ENABLED, EVERY, CRON, severity("\"critical\"")],
    ),
    check(
        "checks.revived-sessions",
        "Sessions that had ended and are there again, between two looks of the watch",
        &[
            ENABLED,
            EVERY,
            CRON,
            severity("\"high\""),
            key("max", COUNT, Otherwise::Value("0"), "Sessions that are tolerated"),
        ],
    ),
    check(
        "checks.orphaned-sessions",
        "Sessions whose user does not exist",
        &[
            ENABLED,
            EVERY,
            CRON,
            severity("\"high\""),
            key("max", COUNT, Otherwise::Value("10"), "Sessions that are tolerated"),
        ],
    ),
    check(
        "checks.sessions-per-user",
        "Active sessions for each user that has one",
        &[
            ENABLED,
            EVERY,
            CRON,
            severity("\"high\""),
            key("max", Kind::Decimal(1.0, 1e9), Otherwise::Value("3.0"), "The ratio that is tolerated"),
        ],
    ),
    check(
        "checks.user-session-excess",
        "Users who hold many active sessions",
        &[
            ENABLED,
            EVERY,
            CRON,
            severity("\"medium\""),
            key("max", COUNT, Otherwise::Value("20"), "Active sessions of one user that are tolerated"),
            key(
                "outliers",
                Kind::Flag,
                Otherwise::Value("true"),
                "Also find users below the limit who hold far more than the others",
            ),
        ],
    ),
    check(
        "checks.rapid-creation",
        "Users who create many sessions",
        &[
            ENABLED,
            EVERY,
            CRON,
            severity("\"medium\""),
            key(
                "max_per_hour",
                COUNT,
                Otherwise::Value("10"),
                "Sessions that one user may create in an hour",
            ),
        ],
    ),
    check(
        "checks.creation-rate",
        "Sessions created an hour, outside the baseline, if one is configured",
        &[
            ENABLED,
            EVERY,
            CRON,
            severity("\"medium\""),
            key(
                "min",
                COUNT,
                Otherwise::Words("none", "10"),
                "The fewest that are usual in the busiest hour of a day",
            ),
            key("max", COUNT, Otherwise::Words("none", "50"), "The most that are usual in an hour"),
        ],
    ),
    check(
        "checks.expired-backlog",
        "Expired sessions that are still stored",
        &[
            ENABLED,
            EVERY,
            CRON,
            severity("\"medium\""),
            key(
                "max",
                COUNT,
                Otherwise::Words("100, or one of 20 rows if that is more", "100"),
                "Expired sessions that are tolerated",
            ),
            key(
                "max_age_days",
                DAYS,
                Otherwise::Value("7"),
                "Days after its end that a session may still be stored",
            ),
        ],
    ),
    check(
        "checks.active-sessions",
        "Active sessions outside the baseline, if one is configured",
        &[
            ENABLED,
            EVERY,
            CRON,
            severity("\"low\""),
            key("min", COUNT, Otherwise::Words("none", "50"), "The fewest that are usual"),
            key("max", COUNT, Otherwise::Words("none", "500"), "The most that are usual"),
        ],
    ),
    check(
        "checks.session-lifetime",
        "Sessions that end too late, never, or at an unreadable time",
        &[
            ENABLED,
            EVERY,
            CRON,
            severity("\"medium\""),
            key(
                "max_days",
                DAYS,
                Otherwise::Words("the default of the framework and one day more", "31"),
                "Days from now at which a session must have ended",
            ),
        ],
    ),
    check(
        "checks.slow-observation",
        "Looks that take long",
        &[
            ENABLED,
            EVERY,
            CRON,
            severity("\"low\""),
            key(
                "budget_ms",
                Kind::Whole(1, 3_600_000),
                Otherwise::Value("100"),
                "Milliseconds that the database may take to read 10 000 sessions, and at least",
            ),
        ],
    ),
    check(
        "checks.log-duplicate-token",
        "Log lines that tell of a token given twice",
        &[ENABLED, severity("\"critical\""), SIGNALS, LOG_WINDOW],
    ),
    check(
        "checks.log-user-mismatch",
        "Log lines that tell of a session answered with another user than its own",
        &[ENABLED, severity("\"critical\""), SIGNALS, LOG_WINDOW],
    ),
    check(
        "checks.log-table-mismatch",
        "Log lines that name another user for a token than the table does",
        &[ENABLED, severity("\"critical\""), SIGNALS, LOG_WINDOW],
    ),
    check(
        "checks.token-in-log",
        "Whole tokens in log lines",
        &[ENABLED, severity("\"high\""), SIGNALS, LOG_WINDOW],
    ),
    check(
        "checks.log-user-not-found",
        "Log lines that tell of a session whose user does not exist",
        &[
            ENABLED,
            severity("\"low\""),
            key("max", COUNT, Otherwise::Value("10"), "Signals that are tolerated"),
            LOG_WINDOW,
        ],
    ),
    check(
        "checks.log-silence",
        "Sources of log lines that normally speak and have gone quiet; how quiet is said of each source",
        &[ENABLED, severity("\"medium\"")],
    ),
    check(
        "checks.log-source-gap",
        "Places of a log where lines may be missing, because they could not be read",
        &[
            ENABLED,
            severity("\"high\""),
            key("max", COUNT, Otherwise::Value("0"), "Gaps that are tolerated"),
            LOG_WINDOW,
        ],
    ),
    alerts("alerts.critical", "How alerts of critical findings behave", CRITICAL),
    alerts("alerts.high", "How alerts of high findings behave", HIGH),
    alerts("alerts.medium", "How alerts of medium findings behave", MILD),
    alerts("alerts.low", "How alerts of low findings behave", MILD),
    Section { path: "check", repeated: true, about: "A check of your own, in SQL", keys: CUSTOM },
    Section {
        path: "logs",
        repeated: true,
        about: "Where log lines of the application come from, for `sessionwatch serve`",
        keys: LOGS,
    },
    Section {
        path: "log_pattern",
        repeated: true,
        about: "Log lines of your own to look for; each is a check too",
        keys: LOG_PATTERN,
    },
    Section { path: "serve", repeated: false, about: "The watch: `sessionwatch serve`", keys: SERVE },
    Section {
        path: "openid",
        repeated: false,
        about: "A provider of identities by which people log in to the dashboard (OpenID Connect)",
        keys: OPENID,
    },
    Section {
        path: "actions",
        repeated: false,
        about: "How far actions may reach, and the archive of what they remove",
        keys: ACTIONS,
    },
    Section { path: "report", repeated: false, about: "The checklist, sent by itself", keys: REPORT },
    Section {
        path: "maintenance",
        repeated: true,
        about: "Times at which nothing is told; what still fails afterwards is told then",
        keys: MAINTENANCE,
    },
    Section { path: "channel", repeated: true, about: "A way to tell people", keys: CHANNEL },
    Section {
        path: "route",
        repeated: true,
        about: "Who is told of what; without one, every channel is told of everything",
        keys: ROUTE,
    },
];

const TARGET: &[Key] = &[
    key("name", Kind::Text, Otherwise::Required("\"main\""), "Its name in reports and on the command line"),
    key(
        "url",
        Kind::Text,
        Otherwise::Words("url_file", "\"${DATABASE_URL}\""),
        "Its address, as for the command line; ${NAME} stands for a variable of the environment",
    ),
    key(
        "url_file",
        Kind::Text,
        Otherwise::Words("url", "\"/run/secrets/database-url\""),
        "A file that holds nothing but the address",
    ),
    key(
        "profile",
        Kind::Text,
        Otherwise::Words("recognised by the columns", "\"authjs-prisma\""),
        "How its sessions are stored",
    ),
    key(
        "sessions",
        Kind::Text,
        Otherwise::Words("recognised by the columns", "\"public.sessions\""),
        "The table that holds them, where several could be meant; its columns are recognised",
    ),
    key(
        "engine",
        Kind::Choice(&["scan", "pushdown"]),
        Otherwise::Value("\"scan\""),
        "Pull compact rows once, or aggregate in the database",
    ),
    key("timeout", Kind::Whole(1, 600), Otherwise::Value("30"), "Seconds that a whole look may take"),
    key("lock_timeout", Kind::Whole(1, 600), Otherwise::Value("2"), "Seconds to wait for a lock"),
    key(
        "replica_url",
        Kind::Text,
        Otherwise::Words("not used", "\"${REPLICA_URL}\""),
        "The address of a read replica, which is looked at first; its lag is stated",
    ),
    key(
        "schedule",
        Kind::Choice(&["default", "guide", "scale-to-zero"]),
        Otherwise::Value("\"default\""),
        "When `serve` looks: all checks by `every` and each night without trust in indexes; daily and weekly as in the guide; or rarely, and when told that the database is awake",
    ),
    key(
        "every",
        Kind::Span(60, LONGEST),
        Otherwise::Words("60s; 6h with schedule = \"scale-to-zero\"", "\"60s\""),
        "Time between two looks of `serve`, which reads the table once; s, m, h and d are units",
    ),
    key(
        "cron",
        Kind::Text,
        Otherwise::Words("not used", "\"*/5 8-18 * * mon-fri\""),
        "Instead of `every`: minute, hour, day of month, month, day of week, in the time zone of [serve]",
    ),
    key(
        "suspends_after",
        Kind::Span(1, LONGEST),
        Otherwise::Words("5m for hosts of Neon, otherwise never", "\"5m\""),
        "Time without a query after which the database suspends itself; for the statement of what a schedule costs",
    ),
    key(
        "act_url",
        Kind::Text,
        Otherwise::Words("not used: nothing can be ended", "\"${ACT_DATABASE_URL}\""),
        "The address with the role that acts (cleanup, revoke, archive restore, incident); checks do not need it, a SQLite file needs none",
    ),
    key(
        "act_url_file",
        Kind::Text,
        Otherwise::Words("act_url", "\"/run/secrets/act-database-url\""),
        "A file that holds nothing but that address",
    ),
];

const CLEANUP: &[Key] = &[
    key("expired", Kind::Flag, Otherwise::Value("false"), "Whether `serve` removes expired rows by itself"),
    key(
        "grace",
        Kind::Span(3_600, 7_776_000),
        Otherwise::Value("\"24h\""),
        "How long ago a row must have ended; at least 14h where its end names no time zone",
    ),
    key("every", Kind::Span(60, LONGEST), Otherwise::Words("cron", "\"24h\""), "Time between two cleanups"),
    key(
        "cron",
        Kind::Text,
        Otherwise::Value("\"17 3 * * *\""),
        "Instead of `every`: minute, hour, day of month, month, day of week, in the time zone of [serve]",
    ),
    key(
        "max_rows",
        Kind::Whole(1, 1_000_000_000),
        Otherwise::Value("1000000"),
        "Rows above which a cleanup is not carried out, but left to a person",
    ),
    key(
        "max_share",
        Kind::Decimal(0.0, 1.0),
        Otherwise::Value("0.5"),
        "The share of the table above which a cleanup is not carried out, but left to a person",
    ),
    key(
        "side_effects",
        Kind::Flag,
        Otherwise::Value("false"),
        "Whether a cleanup may also change other tables (ON DELETE CASCADE, SET NULL) and run triggers and rules",
    ),
];

const ACTIONS: &[Key] = &[
    key(
        "brake_share",
        Kind::Decimal(0.0, 1.0),
        Otherwise::Value("0.2"),
        "The share of the active sessions that a plan may end without the name of the target being given",
    ),
    key("brake_rows", COUNT, Otherwise::Value("10000"), "The rows that a plan may name without that"),
    key(
        "second_person",
        Kind::Flag,
        Otherwise::Value("false"),
        "Whether another account of the dashboard has to agree to a plan that needs to be confirmed",
    ),
    key(
        "stale_after",
        Kind::Span(60, 86_400),
        Otherwise::Value("\"15m\""),
        "How old a plan may be that is carried out",
    ),
    key(
        "archive_recipient",
        Kind::Text,
        Otherwise::Words(
            "that of the identity",
            "\"age148uhe3yk5nth88agcmm9acyc3f7ruwds2qa7e63v2yrmhzuusdzsy2cs8l\"",
        ),
        "To whom removed rows are sealed: a public key of the age format",
    ),
    key(
        "archive_identity",
        Kind::Text,
        Otherwise::Words("sessionwatch-archive.key beside the store", "\"/secure/sessionwatch-archive.key\""),
        "The file with the identity that opens archives; it is made where neither is there",
    ),
    key(
        "archive_retention",
        Kind::Span(3_600, 315_360_000),
        Otherwise::Value("\"7d\""),
        "How long removed rows can be put back, before they are removed for good",
    ),
];

const OPENID: &[Key] = &[
    key(
        "issuer",
        Kind::Text,
        Otherwise::Required("\"https://id.example.org/realms/main\""),
        "Who issues identities; `/.well-known/openid-configuration` below it describes the provider",
    ),
    key(
        "client_id",
        Kind::Text,
        Otherwise::Required("\"sessionwatch\""),
        "What the provider calls the dashboard",
    ),
    key(
        "client_secret",
        Kind::Text,
        Otherwise::Words("a public client", "\"${OPENID_SECRET}\""),
        "What shows the provider that it is asked by the dashboard",
    ),
    key(
        "client_secret_file",
        Kind::Text,
        Otherwise::Words("client_secret", "\"/run/secrets/openid\""),
        "A file that holds nothing but that secret",
    ),
    key("name_claim", Kind::Text, Otherwise::Value("\"email\""), "The claim that holds a person's name here"),
    key(
        "role_claim",
        Kind::Text,
        Otherwise::Value("\"groups\""),
        "The claim that decides about the role, a text or a list of texts; dots lead into objects: `realm_access.roles`",
    ),
    key(
        "viewers",
        Kind::Texts,
        Otherwise::Words("nobody", "[\"engineering\"]"),
        "Values of that claim that let people look",
    ),
    key("responders", Kind::Texts, Otherwise::Words("nobody", "[\"on-call\"]"), "Values that let people act"),
    key(
        "admins",
        Kind::Texts,
        Otherwise::Words("nobody", "[\"platform\"]"),
        "Values that let people decide who may",
    ),
    key(
        "scopes",
        Kind::Texts,
        Otherwise::Value("[\"openid\", \"profile\", \"email\"]"),
        "What the provider is asked for; some give groups only with a scope of their own",
    ),
    key(
        "label",
        Kind::Text,
        Otherwise::Value("\"single sign-on\""),
        "What people call the provider: \"Log in with …\"",
    ),
    key(
        "ca_file",
        Kind::Text,
        Otherwise::Words("those of the system", "\"/etc/ssl/company-ca.pem\""),
        "A PEM file with certificate authorities to trust besides those of the system",
    ),
];

const SERVE: &[Key] = &[
    key(
        "store",
        Kind::Text,
        Otherwise::Value("\"sessionwatch-state.db\""),
        "The watch's memory: a file, made where it is missing, relative to this one; or the address of a PostgreSQL database, for several that watch together",
    ),
    key(
        "store_file",
        Kind::Text,
        Otherwise::Words("store", "\"/run/secrets/store-url\""),
        "A file that holds nothing but the path or address of the store",
    ),
    key(
        "listen",
        Kind::Text,
        Otherwise::Value("\"127.0.0.1:9797\""),
        "Where the dashboard, /metrics, /healthz and /readyz answer; port 0 takes a free one",
    ),
    key(
        "public_url",
        Kind::Text,
        Otherwise::Words("http:// and the address of `listen`", "\"https://watch.example.org\""),
        "How people reach the dashboard through a proxy; with https:// cookies and links keep to TLS",
    ),
    key(
        "tls_certificate",
        Kind::Text,
        Otherwise::Words("no TLS", "\"/etc/sessionwatch/fullchain.pem\""),
        "The certificate by which TLS is spoken on that address, with those above it, as PEM; read again each hour and on reload",
    ),
    key(
        "tls_key",
        Kind::Text,
        Otherwise::Words("no TLS", "\"/etc/sessionwatch/key.pem\""),
        "The key of that certificate, as PEM",
    ),
    key(
        "trusted_proxies",
        Kind::Texts,
        Otherwise::Value("[]"),
        "Proxies, as addresses or networks, whose `X-Forwarded-For` is believed",
    ),
    key(
        "allowed_hosts",
        Kind::Texts,
        Otherwise::Value("[]"),
        "Host names by which the pages may be asked for, besides that of `public_url`, IP addresses, names without a dot, and names below localhost, svc, cluster.local, internal and home.arpa; \"*\" for any",
    ),
    key("keep_days", DAYS, Otherwise::Value("400"), "Days for which history is kept"),
    key(
        "timezone",
        Kind::Text,
        Otherwise::Value("\"UTC\""),
        "The zone of cron expressions, by its IANA name",
    ),
    key(
        "name",
        Kind::Text,
        Otherwise::Words("host name and process number", "\"watcher-1\""),
        "The name of this process among those that share a store",
    ),
];

const fn alerts(path: &'static str, about: &'static str, keys: &'static [Key]) -> Section {
    Section { path, repeated: false, about, keys }
}

const fn pending(looks: &'static str) -> Key {
    key(
        "pending_looks",
        Kind::Whole(1, 1_000),
        Otherwise::Value(looks),
        "Failing looks in a row before it is told; one, where looks are further apart than pending_for",
    )
}

const PENDING_FOR: Key = key(
    "pending_for",
    Kind::Span(1, LONGEST),
    Otherwise::Value("\"15m\""),
    "Time of failing after which it is told, however few looks there were",
);
const CLEAR: Key = key(
    "clear_looks",
    Kind::Whole(1, 1_000),
    Otherwise::Value("2"),
    "Healthy looks in a row before it is told as resolved",
);
const REPEAT: Key = key(
    "repeat",
    Kind::Flag,
    Otherwise::Value("true"),
    "Whether it is told again while nobody looks after it",
);

const fn repeat_after(after: &'static str) -> Key {
    key("repeat_after", Kind::Span(60, LONGEST), Otherwise::Value(after), "Time after which it is told again")
}

const CRITICAL: &[Key] = &[pending("1"), PENDING_FOR, CLEAR, REPEAT, repeat_after("\"4h\"")];
const HIGH: &[Key] = &[pending("2"), PENDING_FOR, CLEAR, REPEAT, repeat_after("\"4h\"")];
const MILD: &[Key] = &[pending("2"), PENDING_FOR, CLEAR, REPEAT, repeat_after("\"1d\"")];

const REPORT: &[Key] = &[
    key(
        "cron",
        Kind::Text,
        Otherwise::Value("\"0 7 * * mon\""),
        "When: minute, hour, day of month, month, day of week, in the time zone of [serve]",
    ),
    key("channels", Kind::Texts, Otherwise::Required("[\"chat\"]"), "Names of the channels that get it"),
];

const MAINTENANCE: &[Key] = &[
    key(
        "cron",
        Kind::Text,
        Otherwise::Required("\"0 2 * * sun\""),
        "When it begins: minute, hour, day of month, month, day of week, in the time zone of [serve]",
    ),
    key("lasts", Kind::Span(60, LONGEST), Otherwise::Required("\"2h\""), "How long it lasts"),
    key(
        "targets",
        Kind::Texts,
        Otherwise::Words("all", "[\"main\"]"),
        "Names of the targets that it is about",
    ),
    key("checks", Kind::Texts, Otherwise::Words("all", "[\"blind\"]"), "Ids of the checks that it is about"),
];

const CHANNEL: &[Key] = &[
    key("name", Kind::Text, Otherwise::Required("\"chat\""), "Its name in routes"),
    key(
        "kind",
        Kind::Choice(&[
            "webhook",
            "slack",
            "discord",
            "teams",
            "telegram",
            "email",
            "pagerduty",
            "alertmanager",
            "ntfy",
        ]),
        Otherwise::Required("\"slack\""),
        "What is sent, and how",
    ),
    key(
        "url",
        Kind::Text,
        Otherwise::Words("url_file; for pagerduty and telegram their own", "\"${SLACK_WEBHOOK_URL}\""),
        "Where it is sent; ${NAME} stands for a variable of the environment",
    ),
    key(
        "url_file",
        Kind::Text,
        Otherwise::Words("url", "\"/run/secrets/slack-url\""),
        "A file that holds nothing but the URL",
    ),
    key(
        "secret",
        Kind::Text,
        Otherwise::Words("none", "\"${CHANNEL_SECRET}\""),
        "The key of a webhook's signature, the bot token of telegram, the routing key of pagerduty, the access token of ntfy",
    ),
    key(
        "secret_file",
        Kind::Text,
        Otherwise::Words("secret", "\"/run/secrets/channel\""),
        "A file that holds nothing but the secret",
    ),
    key(
        "chat",
        Kind::Text,
        Otherwise::Words("none", "\"-1001234567890\""),
        "The chat of telegram, by its number",
    ),
    key(
        "from",
        Kind::Text,
        Otherwise::Words("none", "\"sessionwatch <watch@example.org>\""),
        "The sender of e-mail",
    ),
    key(
        "to",
        Kind::Texts,
        Otherwise::Words("none", "[\"ops@example.org\"]"),
        "The recipients of e-mail; each gets a message of its own",
    ),
    key(
        "ca_file",
        Kind::Text,
        Otherwise::Words("those of the system alone", "\"company-ca.pem\""),
        "A PEM file with certificate authorities to trust besides those of the system",
    ),
    key(
        "template",
        Kind::Text,
        Otherwise::Words("the usual text", "\"{{ notice }}: {{ check }} on {{ target }}: {{ summary }}\""),
        "The text for people, as a Jinja template",
    ),
];

const ROUTE: &[Key] = &[
    key("channels", Kind::Texts, Otherwise::Required("[\"chat\"]"), "Names of the channels that are told"),
    key(
        "severity",
        Kind::Choice(SEVERITIES),
        Otherwise::Value("\"low\""),
        "The mildest findings that are told",
    ),
    key(
        "targets",
        Kind::Texts,
        Otherwise::Words("all", "[\"main\"]"),
        "Names of the targets that it is about",
    ),
    key(
        "checks",
        Kind::Texts,
        Otherwise::Words("all", "[\"duplicate-tokens\"]"),
        "Ids of the checks that it is about",
    ),
];

const LOGS: &[Key] = &[
    key("name", Kind::Text, Otherwise::Required("\"app\""), "Its name in reports"),
    key(
        "kind",
        Kind::Choice(&["file", "vercel", "http", "syslog"]),
        Otherwise::Value("\"file\""),
        "A file that grows, a log drain of Vercel, whoever posts lines with a token, or syslog",
    ),
    key(
        "target",
        Kind::Text,
        Otherwise::Words("the only target", "\"main\""),
        "The target whose sessions the lines are about",
    ),
    key(
        "file",
        Kind::Text,
        Otherwise::Words("with kind = \"file\" it must be written", "\"/var/log/app/app.log\""),
        "The file; it may be rotated, truncated and made anew",
    ),
    key(
        "secret",
        Kind::Text,
        Otherwise::Words("secret_file", "\"${DRAIN_SECRET}\""),
        "What a drain signs with, or the bearer token of who posts lines: at least 16 characters",
    ),
    key(
        "secret_file",
        Kind::Text,
        Otherwise::Words("secret", "\"/run/secrets/drain\""),
        "A file that holds nothing but the secret",
    ),
    key(
        "verify",
        Kind::Text,
        Otherwise::Words("not used", "\"0123456789abcdef\""),
        "With kind = \"vercel\", the value of x-vercel-verify by which the drain knows the endpoint",
    ),
    key(
        "listen",
        Kind::Text,
        Otherwise::Words("with kind = \"syslog\" it must be written", "\"127.0.0.1:5514\""),
        "Where syslog is listened for, over TCP and UDP",
    ),
    key(
        "senders",
        Kind::Texts,
        Otherwise::Words("everybody who reaches the address", "[\"10.0.0.0/8\"]"),
        "With kind = \"syslog\", the addresses or networks that may send; lines of others are refused",
    ),
    key("timezone", Kind::Text, Otherwise::Value("\"UTC\""), "The zone of times in the lines that name none"),
    key(
        "sampled",
        Kind::Flag,
        Otherwise::Value("false"),
        "Lines may be missing, as with a drain that samples: nothing follows from one that is not there",
    ),
    key(
        "quiet_after",
        Kind::Span(60, LONGEST),
        Otherwise::Value("\"1h\""),
        "Time without a line after which a source that normally speaks has gone quiet",
    ),
];

const LOG_PATTERN: &[Key] = &[
    key(
        "name",
        Kind::Text,
        Otherwise::Required("\"password-failures\""),
        "Its name, which is the id of its check: small letters, digits and hyphens",
    ),
    key(
        "literal",
        Kind::Text,
        Otherwise::Words("regex", "\"password check failed\""),
        "Text that every such line contains",
    ),
    key(
        "regex",
        Kind::Text,
        Otherwise::Words("literal", "\"failed for user (?P<user>[0-9]+)\""),
        "What such a line matches; its groups user, other, token, request and reason are what they say",
    ),
    severity("\"medium\""),
    SIGNALS,
    LOG_WINDOW,
    key("action", Kind::Text, Otherwise::Words("none", "\"look at sign-ins\""), "What to do when it fails"),
];

const MAPPING: &[Key] = &[
    key(
        "sessions",
        Kind::Text,
        Otherwise::Required("\"public.sessions\""),
        "The table or view of sessions, with its schema or found along the search path",
    ),
    key("token", Kind::Text, Otherwise::Required("\"sessionToken\""), "The column of the token"),
    key("expires", Kind::Text, Otherwise::Required("\"expires\""), "The column of the session's end"),
    key("decoder", Kind::Decoder, Otherwise::Required("\"timestamp-utc\""), "How the end is stored"),
    optional("id", "\"id\"", "A column that names a row and is not the token"),
    optional(
        "token_prefix",
        "\"session:\"",
        "What every token begins with, as Flask-Session stores it: what is shown of a token, and looked for in logs, is what follows",
    ),
    optional("user", "\"userId\"", "The column of the user"),
    optional("created", "\"createdAt\"", "The column of the session's creation"),
    key(
        "created_decoder",
        Kind::Decoder,
        Otherwise::Words("the decoder of the end", "\"timestamp-utc\""),
        "How the creation is stored",
    ),
    optional("ip", "\"ipAddress\"", "The column of the client's address"),
    optional("agent", "\"userAgent\"", "The column of the client's user agent"),
    optional("users", "\"public.users\"", "The table of users"),
    key("users_key", Kind::Text, Otherwise::Value("\"id\""), "The column of the users that `user` refers to"),
    key(
        "display",
        Kind::Texts,
        Otherwise::Words("[]", "[\"name\", \"email\"]"),
        "Columns of the users that help a person to recognise one",
    ),
    optional(
        "accounts",
        "\"public.accounts\"",
        "A table that fills while sessions stay empty when the application uses JWT sessions",
    ),
    key(
        "lifetime_days",
        DAYS,
        Otherwise::Words("no policy", "30"),
        "The longest lifetime that the application gives a session, in days",
    ),
    key(
        "revoke",
        Kind::Choice(&["delete", "expire", "flag"]),
        Otherwise::Value("\"delete\""),
        "How a session is ended: its row removed, its end set to now, or a column set to a value",
    ),
    optional("revoke_column", "\"active\"", "With revoke = \"flag\", the column"),
    optional("revoke_value", "\"false\"", "With revoke = \"flag\", the value"),
];

const CUSTOM: &[Key] = &[
    key(
        "id",
        Kind::Text,
        Otherwise::Required("\"sessions-of-suspended-users\""),
        "Its id: small letters, digits and hyphens",
    ),
    key(
        "sql",
        Kind::Text,
        Otherwise::Required(
            "\"SELECT 1 FROM sessions s JOIN users u ON u.id = s.\\\"userId\\\" WHERE u.suspended\"",
        ),
        "One SELECT; it runs read-only, and only a number comes back",
    ),
    key(
        "value",
        Kind::Choice(&["rows", "first"]),
        Otherwise::Value("\"rows\""),
        "The number that is judged: how many rows there are, or the first column of the first row",
    ),
    key("threshold", Kind::Text, Otherwise::Value("\"> 0\""), "Fails at: >, >=, <, <=, = or != and a number"),
    key("max_rows", Kind::Whole(1, 10_000_000), Otherwise::Value("100000"), "Rows at which counting stops"),
    severity("\"medium\""),
    EVERY,
    CRON,
    key("action", Kind::Text, Otherwise::Words("none", "\"end these sessions\""), "What to do when it fails"),
    key(
        "targets",
        Kind::Texts,
        Otherwise::Words("all", "[\"main\"]"),
        "Names of the targets that it looks at",
    ),
];

impl Section {
    /// The section of that path.
    #[must_use]
    pub fn find(path: &str) -> Option<&'static Self> {
        SECTIONS.iter().find(|section| section.path == path)
    }

    /// The first part of the names of the sections below this one.
    pub fn below(&self) -> impl Iterator<Item = &'static str> {
        let prefix = if self.path.is_empty() { String::new() } else { format!("{}.", self.path) };
        SECTIONS.iter().filter_map(move |section| {
            let rest = section.path.strip_prefix(&prefix)?;
            let name = rest.split_once('.').map_or(rest, |(first, _)| first);
            (!name.is_empty()).then_some(name)
        })
    }
}
