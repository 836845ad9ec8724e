//! Reasons in log lines. Only known words are kept, because any other text could be a secret.

use std::borrow::Cow;

/// Placeholder for a reason with unknown words.
pub const OTHER_REASON: &str = "other";
/// Maximum number of words in a reason.
const MAX_REASON_WORDS: usize = 8;

/// Known words, sorted for binary search.
#[rustfmt::skip]
const REASON_WORDS: [&str; 203] = [
    "a", "aborted", "absolute", "access", "account", "action", "active", "activity", "address", "admin",
    "administrator", "after", "agent", "all", "already", "an", "and", "another", "app", "at", "attempt",
    "attempts", "audience", "auth", "authentication", "automatic", "bad", "banned", "been", "before",
    "belongs", "blocked", "browser", "by", "callback", "captcha", "change", "changed", "check", "cleanup",
    "clear", "cleared", "client", "close", "closed", "code", "compromised", "concurrent", "conflict",
    "connection", "constraint", "created", "credentials", "csrf", "database", "deactivated", "deadlock",
    "delete", "deleted", "deletion", "denied", "detected", "device", "disabled", "does", "due", "duplicate",
    "email", "empty", "end", "ended", "error", "everywhere", "exceeded", "exist", "exists", "expiration",
    "expire", "expired", "expiry", "failed", "failure", "fingerprint", "for", "force", "forced", "foreign",
    "format", "found", "from", "global", "has", "hijack", "hijacking", "idle", "in", "inactive",
    "inactivity", "incorrect", "insert", "internal", "invalid", "ip", "is", "issuer", "key", "kicked",
    "lifetime", "limit", "link", "location", "lock", "locked", "log", "logged", "login", "logout",
    "malformed", "manual", "many", "max", "maximum", "mfa", "mismatch", "missing", "network", "new", "no",
    "nonce", "not", "null", "number", "oauth", "of", "old", "on", "or", "other", "out", "owner", "password",
    "pending", "permission", "policy", "provider", "rate", "read", "refresh", "refreshed", "refused",
    "removed", "renewed", "replaced", "request", "required", "reset", "restart", "reuse", "reused",
    "revocation", "revoke", "revoked", "role", "rotated", "rotation", "security", "server", "service",
    "session", "sessions", "shutdown", "sign", "signature", "signed", "signin", "signout", "state",
    "stolen", "superseded", "suspended", "suspicious", "system", "terminated", "time", "timeout", "to",
    "token", "too", "unavailable", "unique", "unknown", "unreachable", "unverified", "update", "used",
    "user", "verified", "violation", "was", "with", "without", "write", "wrong",
];

/// Returns the reason if all its words are known, else [`OTHER_REASON`]; `None` if the text has no words.
#[must_use]
pub fn sanitize_reason(text: &str) -> Option<Cow<'_, str>> {
    let words = || text.split(|letter: char| !letter.is_ascii_alphanumeric()).flat_map(split_camel_case);
    let is_known = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_digit()) && word.len() <= 3 || is_reason_word(word)
    };
    match words().count() {
        0 => None,
        count if count <= MAX_REASON_WORDS && text.is_ascii() && words().all(is_known) => {
            Some(Cow::Borrowed(text))
        }
        _ => Some(Cow::Borrowed(OTHER_REASON)),
    }
}

/// Splits a name such as `signedOut` into words.
fn split_camel_case(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let upper = |byte: &u8| byte.is_ascii_uppercase();
        let bytes = rest.as_bytes();
        let begin = bytes.iter().take_while(|byte| upper(byte)).count().max(1).min(bytes.len());
        let end = bytes[begin..].iter().position(upper).map_or(bytes.len(), |end| begin + end);
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

fn is_reason_word(word: &str) -> bool {
    let mut buffer = [0; 16];
    let Some(lower) = buffer.get_mut(..word.len()) else { return false };
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    REASON_WORDS.binary_search_by(|known| known.as_bytes().cmp(lower)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_words_are_kept() {
        assert!(REASON_WORDS.is_sorted());
        for known in [
            "logout",
            "idle_timeout",
            "password-changed",
            "userDeleted",
            "Revoked by admin",
            "EXPIRED",
            "max 5 sessions",
        ] {
            assert_eq!(sanitize_reason(known).as_deref(), Some(known), "{known}");
        }
        for other in [
            "hh11jj22kk33ll44mm55nn66",
            "wrong: hunter",
            "correct horse battery staple",
            "482910",
            "logout é",
            "qwertyuiopasdfghjklz",
        ] {
            assert_eq!(sanitize_reason(other).as_deref(), Some(OTHER_REASON), "{other}");
        }
        assert_eq!((sanitize_reason(""), sanitize_reason("--")), (None, None));
    }
}
