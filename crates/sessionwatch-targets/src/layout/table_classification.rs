//! Classification of tables by their names.

use std::sync::OnceLock;

use serde::Deserialize;

const WORD_LISTS_TOML: &str = include_str!("../../profiles/lists/table-names.toml");

/// The content of a table, according to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableNameMeaning {
    /// Unknown.
    Unknown,
    /// Sessions.
    Sessions,
    /// Historical or backup copies; the word that says so.
    HistoryCopy(&'static str),
    /// Something other than sessions.
    Other {
        /// Content, in the plural.
        holds: &'static str,
        /// `true` if the rows are sessions of some kind nevertheless, as in `oauth_sessions`.
        is_session_like: bool,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableNameWords {
    sessions: Vec<String>,
    neutral: Vec<String>,
    copies: Vec<String>,
    others: Vec<OtherContentWords>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OtherContentWords {
    holds: String,
    words: Vec<String>,
}

fn load_word_lists() -> &'static TableNameWords {
    static PARSED_WORD_LISTS: OnceLock<TableNameWords> = OnceLock::new();
    PARSED_WORD_LISTS.get_or_init(|| toml::from_str(WORD_LISTS_TOML).expect("the embedded lists are tested"))
}

/// Classifies a table by its name.
#[must_use]
pub fn classify_table_name(name: &str) -> TableNameMeaning {
    let lists = load_word_lists();
    let words = split_words(name);
    let is = |list: &[String], word: &String| list.contains(word);
    // Another content takes precedence: `password_reset_sessions` hold no login sessions.
    let other = lists.others.iter().find(|others| words.iter().any(|word| is(&others.words, word)));
    if let Some(others) = other {
        // The last significant word is what the rows are: `login_links` are links.
        let head = words.iter().rev().find(|word| !is(&lists.neutral, word));
        let is_session_like = head.is_some_and(|head| is(&lists.sessions, head));
        return TableNameMeaning::Other { holds: &others.holds, is_session_like };
    }
    let copy = lists.copies.iter().find(|copy| words.contains(copy));
    match copy {
        Some(word) => TableNameMeaning::HistoryCopy(word),
        None if words.iter().any(|word| is(&lists.sessions, word)) => TableNameMeaning::Sessions,
        None => TableNameMeaning::Unknown,
    }
}

/// Returns `true` if the name of a table contains this word, in singular or plural.
#[must_use]
pub fn contains_word(name: &str, word: &str) -> bool {
    split_words(name).iter().any(|part| part == word || part.strip_suffix('s') == Some(word))
}

/// Splits a name into words, in lower case.
fn split_words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    // "OAuth" is one word in every spelling.
    let letters: Vec<char> = name.replace("OAuth", "Oauth").chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(at + 1);
        // `apiKey` and `APIKey` both consist of two words.
        let begins = letter.is_uppercase()
            && (before.is_some_and(|before| !before.is_uppercase())
                || after.is_some_and(|after| after.is_lowercase()));
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).flat_map(|word| split_compound_word(&word)).collect()
}

/// Splits a compound word if all parts are known, or returns the word itself.
fn split_compound_word(word: &str) -> Vec<String> {
    let lists = load_word_lists();
    let known = |part: &str| {
        let has = |list: &[String]| list.iter().any(|known| known == part);
        let harmless = has(&lists.sessions) || has(&lists.neutral);
        let against = has(&lists.copies) || lists.others.iter().any(|others| has(&others.words));
        (harmless || against).then_some(!harmless)
    };
    // best[end]: cheapest split of the prefix up to `end`. Parts that speak against sessions cost most, then
    // the number of parts: `login` is not `log` and `in`.
    let mut best: Vec<Option<(usize, usize, usize)>> = vec![None; word.len() + 1];
    best[0] = Some((0, 0, 0));
    for end in (1..=word.len()).filter(|end| word.is_char_boundary(*end)) {
        best[end] = (0..end)
            .filter(|start| word.is_char_boundary(*start))
            .filter_map(|start| {
                let (against, count, _) = best[start]?;
                let is_against = known(&word[start..end])?;
                Some((against + usize::from(is_against), count + 1, start))
            })
            .min();
    }
    let mut parts = Vec::new();
    let mut end = word.len();
    while end > 0 {
        let Some((_, _, start)) = best[end] else { return vec![word.to_owned()] };
        parts.push(word[start..end].to_owned());
        end = start;
    }
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(name: &str) -> Option<&'static str> {
        match classify_table_name(name) {
            TableNameMeaning::Other { holds, .. } => Some(holds),
            _ => None,
        }
    }

    #[test]
    fn other_token_tables_are_classified_in_any_spelling() {
        for (names, what) in [
            (
                &[
                    "password_reset_tokens",
                    "PasswordReset",
                    "passwordResetTokens",
                    "passwordresets",
                    "reset-tokens",
                ][..],
                "password resets",
            ),
            (
                &[
                    "email_verification_tokens",
                    "emailVerificationToken",
                    "EMAIL_CONFIRMATIONS",
                    "verification",
                ],
                "verifications",
            ),
            (&["invitations", "TeamInvite", "user_invites", "OrgInvitation"], "invitations"),
            (&["refresh_tokens", "RefreshToken", "refreshtokens", "user-refresh-tokens"], "refresh tokens"),
            (&["oauthAccessToken", "personal_access_tokens", "OAuth2Token"], "access tokens"),
            (&["token_blacklist_outstandingtoken", "revoked_tokens"], "issued or revoked tokens"),
            (&["magic_links", "MagicLink", "login_links"], "magic links"),
            (&["api_keys", "ApiKey", "APIKey", "apikeys", "api-key"], "API keys"),
            (&["otp_codes", "user2FA_code"], "one-time codes"),
        ] {
            for name in names {
                assert_eq!(holds(name), Some(what), "{name}");
            }
        }
        assert_eq!(
            classify_table_name("oauth_sessions"),
            TableNameMeaning::Other { holds: "access tokens", is_session_like: true }
        );
    }

    #[test]
    fn only_whole_words_count() {
        for name in [
            "sessions",
            "Session",
            "user_sessions",
            "userSessions",
            "app_login",
            "logins",
            "user_logins",
            "auth_session_tokens",
        ] {
            assert_eq!(classify_table_name(name), TableNameMeaning::Sessions, "{name}");
        }
        for name in [
            "tokens",
            "stored",
            "keynotes",
            "anything",
            "auth_token",
            "accessories",
            "resettlements",
            "mailbox",
        ] {
            assert_eq!(classify_table_name(name), TableNameMeaning::Unknown, "{name}");
        }
        assert_eq!(classify_table_name("sessions_old"), TableNameMeaning::HistoryCopy("old"));
        assert_eq!(classify_table_name("session_logs"), TableNameMeaning::HistoryCopy("logs"));
        assert!(
            contains_word("userVerifications", "verification") && !contains_word("verified", "verification")
        );
    }
}
