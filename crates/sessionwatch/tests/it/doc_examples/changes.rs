//! Changes to the sample data of the documentation, so that its examples find something.

/// Removes the constraints of the sample data, and plants an anomaly of every kind.
pub(super) const ANOMALIES: &str = r#"
ALTER TABLE "Session" DROP CONSTRAINT "Session_userId_fkey";
DROP INDEX "Session_sessionToken_key";
INSERT INTO "User" (id, name, email, "updatedAt") VALUES ('42', 'Ada', 'ada@example.org', now()),
  ('43', 'Bo', 'bo@example.org', now());
INSERT INTO "Session" ("sessionToken", "userId", expires, "updatedAt")
SELECT token || '-0123456789abcdef', owner, now() AT TIME ZONE 'UTC' + interval '9 days', now()
FROM (VALUES ('8f14e45f', '42'), ('ad61ab14', '43'), ('shared', '42'), ('shared', '43')) AS session (token, owner);
INSERT INTO "Session" ("sessionToken", "userId", expires, "updatedAt")
SELECT gen_random_uuid(), 'gone' || n, now() AT TIME ZONE 'UTC' + interval '9 days', now()
  FROM generate_series(1, 12) AS n;
"#;
/// Gives the other sample data an expired session, one with a known token, and the column of impersonators.
pub(super) const CLEANUP: &str = r#"
ALTER TABLE session ADD "impersonatedBy" text;
INSERT INTO "user" (id, name, email, "emailVerified") VALUES ('42', 'Ada', 'ada@example.org', true);
INSERT INTO session (id, "expiresAt", token, "createdAt", "updatedAt", "userId")
SELECT token, ends, token || '-0123456789abcdef', ends - interval '7 days', now(), '42'
FROM (VALUES ('1a2b3c4d', now() + interval '1 day'), ('expired', now() - interval '9 days')) AS session (token, ends);
"#;
/// Suspends users with three active sessions in total.
pub(super) const SUSPENDED: &str =
    "ALTER TABLE users ADD suspended boolean; UPDATE users SET suspended = id <= 2;";
