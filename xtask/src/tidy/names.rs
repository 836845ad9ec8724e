//! Rule: names of constants and free functions have at least two words, and a public type's name is unique in its
//! crate.

use std::collections::BTreeMap;

use syn::{
    ImplItem, Item, ItemImpl, TraitItem, Visibility,
    visit::{self, Visit},
};

use super::{
    TidyFinding, TidyRule,
    source::{self, SourceFile},
};

/// One-word constants that are clear in any context.
const CLEAR_CONSTANTS: [&str; 12] =
    ["ALL", "EMPTY", "FILE", "HELP", "ID", "KIND", "MAX", "MIN", "NAME", "ROOT", "VERSION", "ZERO"];

/// Verbs that describe a free function without an object.
const CLEAR_VERBS: [&str; 34] = [
    "apply",
    "authorize",
    "check",
    "close",
    "compare",
    "connect",
    "count",
    "decode",
    "decrypt",
    "deserialize",
    "detect",
    "drill",
    "encode",
    "encrypt",
    "evaluate",
    "flatten",
    "get",
    "init",
    "list",
    "main",
    "migrate",
    "now",
    "open",
    "parse",
    "plan",
    "post",
    "read",
    "render",
    "restore",
    "run",
    "serialize",
    "serve",
    "sleep",
    "write",
];

/// Kind of item that a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Constant,
    FreeFunction,
    Method,
    Type,
}

/// A name declared by production code. Trait implementations are excluded, since the trait chose the name.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    pub(crate) kind: ItemKind,
    pub(crate) name: String,
    /// Line number, starting at 1.
    pub(crate) line: usize,
    is_public: bool,
}

impl Declaration {
    /// Returns `true` if the name is a single word.
    pub(crate) fn is_one_word(&self) -> bool {
        !self.name.trim_matches('_').contains('_')
    }
}

/// Lists the declarations of a file outside of tests.
pub(crate) fn list_declarations(source: &SourceFile) -> Vec<Declaration> {
    let mut collector = Collector { source, found: Vec::new() };
    collector.visit_file(&source.syntax);
    collector.found
}

/// Reports one-word constants and free functions.
pub(crate) fn check(source: &SourceFile, findings: &mut Vec<TidyFinding>) {
    for declaration in list_declarations(source).iter().filter(|declaration| declaration.is_one_word()) {
        let Declaration { kind, name, line, .. } = declaration;
        let (rule, advice) = match kind {
            ItemKind::Constant if !CLEAR_CONSTANTS.contains(&name.as_str()) => {
                (TidyRule::OneWordConst, "name the quantity, such as IDLE_CONNECTION_TIMEOUT")
            }
            ItemKind::FreeFunction if !CLEAR_VERBS.contains(&name.as_str()) => {
                (TidyRule::OneWordFunction, "use a verb and an object, such as `insert_alert`")
            }
            _ => continue,
        };
        findings.push(TidyFinding::new(rule, source, *line, format!("`{name}` is one word: {advice}")));
    }
}

/// Reports public types that share their name with another type of the crate.
pub(crate) fn check_types(sources: &[SourceFile], findings: &mut Vec<TidyFinding>) {
    let mut places = BTreeMap::<(String, String), Vec<(&SourceFile, usize)>>::new();
    for source in sources {
        let types = list_declarations(source).into_iter();
        for declared in types.filter(|declared| declared.kind == ItemKind::Type && declared.is_public) {
            places
                .entry((crate_name(&source.path), declared.name))
                .or_default()
                .push((source, declared.line));
        }
    }
    for ((package, name), places) in places {
        let [(first, _), others @ ..] = places.as_slice() else { continue };
        for (source, line) in others {
            let message =
                format!("`{package}` has two public types `{name}`: the other is in {}", first.path);
            findings.push(TidyFinding::new(TidyRule::SharedTypeName, source, *line, message));
        }
    }
}

/// Returns the folder of a crate: `sessionwatch-store` for `crates/sessionwatch-store/src/lib.rs`.
fn crate_name(path: &str) -> String {
    let mut parts = path.split('/');
    let first = parts.next().unwrap_or_default();
    if first == "crates" { parts.next().unwrap_or(first).to_owned() } else { first.to_owned() }
}

struct Collector<'a> {
    source: &'a SourceFile,
    found: Vec<Declaration>,
}

impl Collector<'_> {
    fn add(&mut self, kind: ItemKind, name: &syn::Ident, visibility: Option<&Visibility>) {
        let line = name.span().start().line;
        if !self.source.is_test(line) {
            let is_public = matches!(visibility, Some(Visibility::Public(_)));
            self.found.push(Declaration { kind, name: name.to_string(), line, is_public });
        }
    }

    fn add_implementation(&mut self, item: &ItemImpl) {
        for item in &item.items {
            match item {
                ImplItem::Const(item) => self.add(ItemKind::Constant, &item.ident, Some(&item.vis)),
                ImplItem::Fn(item) => self.add(ItemKind::Method, &item.sig.ident, Some(&item.vis)),
                _ => {}
            }
        }
    }
}

impl<'a> Visit<'a> for Collector<'a> {
    fn visit_item(&mut self, item: &'a Item) {
        if source::is_for_tests(source::item_attributes(item)) {
            return;
        }
        match item {
            Item::Const(item) if item.ident != "_" => {
                self.add(ItemKind::Constant, &item.ident, Some(&item.vis))
            }
            Item::Static(item) => self.add(ItemKind::Constant, &item.ident, Some(&item.vis)),
            Item::Fn(item) => self.add(ItemKind::FreeFunction, &item.sig.ident, Some(&item.vis)),
            Item::Enum(item) => self.add(ItemKind::Type, &item.ident, Some(&item.vis)),
            Item::Struct(item) => self.add(ItemKind::Type, &item.ident, Some(&item.vis)),
            Item::Type(item) => self.add(ItemKind::Type, &item.ident, Some(&item.vis)),
            Item::Trait(item) => {
                self.add(ItemKind::Type, &item.ident, Some(&item.vis));
                for item in &item.items {
                    match item {
                        TraitItem::Const(item) => self.add(ItemKind::Constant, &item.ident, None),
                        TraitItem::Fn(item) => self.add(ItemKind::Method, &item.sig.ident, None),
                        _ => {}
                    }
                }
            }
            Item::Impl(item) if item.trait_.is_none() => self.add_implementation(item),
            _ => {}
        }
        visit::visit_item(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{TidyFinding, TidyRule, findings_of},
        *,
    };

    const PATH: &str = "crates/a/src/b.rs";

    fn lines(rule: TidyRule, text: &str) -> Vec<usize> {
        findings_of(rule, PATH, text).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn one_word_constants_are_found_in_every_scope() {
        assert_eq!(lines(TidyRule::OneWordConst, "const DELAY: u8 = 1;"), [1]);
        assert_eq!(lines(TidyRule::OneWordConst, "static MOST: u8 = 1;"), [1]);
        assert_eq!(lines(TidyRule::OneWordConst, "impl A {\n    const FEW: u8 = 1;\n}"), [2]);
        assert_eq!(lines(TidyRule::OneWordConst, "fn f() {\n    const FEW: u8 = 1;\n}"), [2]);
        assert!(lines(TidyRule::OneWordConst, "const MAX_FORM_BYTES: u8 = 1;\nconst _: () = ();").is_empty());
        assert!(lines(TidyRule::OneWordConst, "impl A {\n    const ALL: [u8; 0] = [];\n}").is_empty());
        assert!(
            lines(TidyRule::OneWordConst, "#[cfg(test)]\nmod tests {\n    const FEW: u8 = 1;\n}").is_empty()
        );
        assert!(lines(TidyRule::OneWordConst, "impl Named for A {\n    const WORD: u8 = 1;\n}").is_empty());
    }

    #[test]
    fn one_word_free_functions_are_found_unless_they_are_clear_verbs() {
        assert_eq!(lines(TidyRule::OneWordFunction, "fn stored() {}\npub async fn keep() {}"), [1, 2]);
        assert!(lines(TidyRule::OneWordFunction, "fn run() {}\nfn list_alerts() {}").is_empty());
        assert!(lines(TidyRule::OneWordFunction, "impl A {\n    fn name(&self) {}\n}").is_empty());
        assert!(lines(TidyRule::OneWordFunction, "#[test]\nfn works() {}").is_empty());
    }

    fn shared_types(files: [(&str, &str); 2]) -> Vec<TidyFinding> {
        let sources = files.map(|(path, text)| SourceFile::parse(path, text).unwrap());
        let mut findings = Vec::new();
        check_types(&sources, &mut findings);
        findings
    }

    #[test]
    fn public_type_names_are_unique_in_a_crate() {
        let record = "pub struct Record;";
        let found =
            shared_types([("crates/a/src/b.rs", record), ("crates/a/src/c.rs", "\npub enum Record {}")]);
        assert_eq!(
            found.iter().map(|found| (found.path.as_str(), found.line)).collect::<Vec<_>>(),
            [("crates/a/src/c.rs", 2)]
        );
        assert!(shared_types([("crates/a/src/b.rs", record), ("crates/d/src/c.rs", record)]).is_empty());
        assert!(
            shared_types([("crates/a/src/b.rs", record), ("crates/a/src/c.rs", "struct Record;")]).is_empty()
        );
    }
}
