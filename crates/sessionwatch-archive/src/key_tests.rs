//! Tests of key files and key texts: what is accepted, and that no private key is shown.

use std::os::unix::fs::PermissionsExt as _;

use bech32::Bech32m;

use super::*;

/// Encodes bytes like a key.
fn encode<C: bech32::Checksum>(prefix: &str, bytes: &[u8]) -> String {
    bech32::encode::<C>(Hrp::parse(prefix).unwrap(), bytes).unwrap()
}

fn secret_text(identity: &Identity) -> String {
    identity.to_text().as_str().to_owned()
}

#[test]
fn only_a_recipient_is_accepted_as_one() {
    let identity = Identity::generate().unwrap();
    let text = identity.recipient().to_string();
    for accepted in [text.clone(), format!("  {text}\r\n"), format!("\t{text}")] {
        assert_eq!(Recipient::parse(&accepted).unwrap().to_string(), text, "{accepted:?}");
    }
    let mut typo = text.clone();
    typo.replace_range(10..11, if &text[10..11] == "q" { "p" } else { "q" });
    for refused in [
        String::new(),
        "age1".into(),
        typo,
        text[..text.len() - 1].to_owned(),
        format!("{text}q"),
        format!("{text} {text}"),
        text.to_uppercase(),
        text.replacen("age1", "AGE1", 1),
        text.replacen("age1", "ag\u{435}1", 1),
        encode::<Bech32m>("age", &[7; 32]),
        encode::<Bech32>("age", &[7; 31]),
        encode::<Bech32>("age", &[7; 33]),
        encode::<Bech32>("agf", &[7; 32]),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5".into(),
        "x".repeat(100_000),
    ] {
        let outcome = Recipient::parse(&refused);
        assert!(matches!(outcome, Err(SealError::InvalidRecipient(_))), "{refused:.200}");
    }
}

#[test]
fn a_private_key_given_as_recipient_is_refused_and_not_repeated() {
    let secret = secret_text(&Identity::generate().unwrap());
    for text in
        [secret.clone(), secret.to_lowercase(), format!("recipient = {secret}"), secret[..40].to_owned()]
    {
        let error = Recipient::parse(&text).err().unwrap();
        assert!(matches!(error, SealError::PrivateKeyAsRecipient), "{error}");
        assert!(!error.to_string().to_lowercase().contains("age-secret-key"), "{error}");
    }
}

#[test]
fn an_identity_file_is_read_like_those_of_age_keygen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let (first, second) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let [one, two] = [&first, &second].map(secret_text);
    for content in [
        one.clone(),
        format!("{one}\n"),
        format!("{one}\r\n"),
        format!("# created: 2026-11-29T12:00:00Z\n# public key: {}\n{one}\n", first.recipient()),
        format!("\n\n  {one}  \n\n"),
        format!("# {two}\n{one}\n{two}\n"),
        format!("not a key\n{one}"),
    ] {
        std::fs::write(&path, &content).unwrap();
        let read = Identity::read_file(&path).unwrap();
        assert_eq!(read.recipient().to_string(), first.recipient().to_string(), "{content}");
    }
    for content in [
        String::new(),
        "# no key".into(),
        first.recipient().to_string(),
        one.to_lowercase(),
        one[..one.len() - 1].to_owned(),
        one.replacen('1', "l", 1),
    ] {
        std::fs::write(&path, &content).unwrap();
        assert!(matches!(Identity::read_file(&path), Err(SealError::ReadIdentity(_))), "{content}");
    }
    std::fs::write(&path, [0xff, 0xfe, 0]).unwrap();
    for unreadable in [path.as_path(), folder.path(), &folder.path().join("missing")] {
        assert!(matches!(Identity::read_file(unreadable), Err(SealError::ReadIdentity(_))), "{unreadable:?}");
    }
}

#[test]
fn an_identity_file_is_private_complete_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key with spaces");
    let identity = Identity::create_file(&path).unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let recipient = identity.recipient().to_string();
    assert!(written.contains(&recipient) && written.ends_with('\n'), "the public key is named: {recipient}");
    assert_eq!(Identity::read_file(&path).unwrap().recipient().to_string(), recipient);
    assert!(matches!(Identity::create_file(&path), Err(SealError::IdentityExists(_))));
    // A dangling link is an existing name too: following it would write the key elsewhere.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), &link).unwrap();
    assert!(matches!(Identity::create_file(&link), Err(SealError::IdentityExists(_))));
    assert!(!folder.path().join("elsewhere").exists());
    let nowhere = folder.path().join("missing").join("key");
    assert!(matches!(Identity::create_file(&nowhere), Err(SealError::WriteIdentity(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
}

#[test]
fn no_error_and_no_debug_output_shows_a_private_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let identity = Identity::create_file(&path).unwrap();
    let secret = secret_text(&identity);
    let other = Identity::generate().unwrap();
    let sealed = other.recipient().seal(b"rows").unwrap();
    let wrong = identity.open(&sealed, &other.recipient().to_string()).unwrap_err();
    assert!(wrong.to_string().contains(&other.recipient().to_string()), "{wrong}");
    let exists = Identity::create_file(&path).unwrap_err();
    std::fs::write(&path, secret.to_lowercase()).unwrap();
    let unreadable = Identity::read_file(&path).unwrap_err();
    for shown in [
        format!("{identity:?} {:?}", identity.recipient()),
        format!("{wrong} {wrong:?}"),
        format!("{exists} {exists:?}"),
        format!("{unreadable} {unreadable:?}"),
    ] {
        // The key itself, without its prefix.
        let key = &secret[secret.len() - 50..];
        assert!(!shown.to_uppercase().contains(key), "{shown}");
    }
}

#[test]
fn equal_rows_are_sealed_differently_every_time() {
    let identity = Identity::generate().unwrap();
    let recipient = identity.recipient();
    let [one, two] = [(); 2].map(|()| recipient.seal(b"rows").unwrap());
    assert_ne!(one, two);
    let mixed = [&one[..one.len() / 2], &two[two.len() / 2..]].concat();
    let name = recipient.to_string();
    for (sealed, is_whole) in [(&one, true), (&two, true), (&mixed, false)] {
        let opened = identity.open(sealed, &name);
        assert_eq!(opened.is_ok_and(|plaintext| plaintext.as_slice() == b"rows"), is_whole);
    }
}
