use super::*;

#[test]
fn passwords_are_kept_as_typed_and_texts_are_trimmed() {
    let fields = FormFields::parse(b"name=+ada+&password=+a+sentence+&new=%09x%09");
    assert_eq!(fields.text("name"), "ada");
    assert_eq!(fields.password("password").expose(), " a sentence ");
    assert_eq!(fields.password("new").expose(), "\tx\t");
    assert!(fields.text("password").is_empty() && fields.password("name").expose().is_empty());
    let fields = FormFields::parse(b"id=a&id=+b&id=");
    assert_eq!(fields.texts("id").collect::<Vec<_>>(), ["a", " b", ""]);
    assert_eq!((fields.text("id"), fields.texts("none").count()), ("", 0));
}

#[test]
fn debug_output_shows_field_names_only() {
    let shown = format!("{:?}", FormFields::parse(b"name=ada&password=sentence"));
    assert_eq!(shown, r#"{"name", "password"}"#);
}

#[test]
fn any_body_is_read_without_an_error() {
    for (body, expected) in [
        (&b""[..], ""),
        (b"a", ""),
        (b"a=", ""),
        (b"=x", ""),
        (b"a=%", "%"),
        (b"a=%zz", "%zz"),
        (b"a=%ff%fe", "\u{fffd}\u{fffd}"),
        (b"a=%00", "\0"),
        (b"a=1&a=2", "2"),
        (b"a=%E2%80%AE+x", "\u{202e} x"),
        (b"\xff\xfe&a=x", "x"),
    ] {
        assert_eq!(FormFields::parse(body).text("a"), expected, "{body:?}");
    }
}

#[test]
fn texts_are_cut_by_characters_and_an_empty_one_asks() {
    let fields = FormFields::parse("note=++äöü𝄞x+".as_bytes());
    for (limit, expected) in [(0, ""), (1, "ä"), (4, "äöü𝄞"), (5, "äöü𝄞x"), (usize::MAX, "äöü𝄞x")]
    {
        assert_eq!(fields.capped_text("note", limit), expected, "{limit}");
    }
    for blank in ["", "note", "note=+%09%0d%0a", "other=x"] {
        let missing = FormFields::parse(blank.as_bytes()).required_text("note", 5, "Enter a note.");
        assert_eq!(missing.unwrap_err().to_string(), "Enter a note.", "{blank}");
    }
}

#[test]
fn credentials_in_a_text_are_masked_but_not_those_in_a_password_field() {
    let text = "see+postgres%3A%2F%2Fwatch%3Ahunter2%40db%2Fapp";
    let fields = FormFields::parse(format!("note={text}&id={text}&password={text}&new={text}").as_bytes());
    assert_eq!(fields.text("note"), "see postgres://watch:***@db/app");
    assert!(fields.texts("id").all(|value| !value.contains("hunter2")));
    for name in ["password", "new"] {
        assert!(fields.password(name).expose().contains(":hunter2@"), "{name}");
    }
}
