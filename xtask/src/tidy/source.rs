//! Parsed Rust files of the repository.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Block, ImplItemFn, Item, ItemFn, Signature, TraitItemFn,
    spanned::Spanned,
    visit::{self, Visit},
};

const SOURCE_FOLDERS: [&str; 3] = ["crates", "fuzz", "xtask"];

/// One Rust file.
pub(crate) struct SourceFile {
    /// Path relative to the root of the repository, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: TokenStream,
    pub(crate) syntax: syn::File,
    /// Lines of items that are compiled for tests only.
    test_lines: Vec<RangeInclusive<usize>>,
}

/// A function with a body.
pub(crate) struct SourceFunction<'a> {
    pub(crate) name: String,
    /// First line of its signature, starting at 1.
    pub(crate) line: usize,
    pub(crate) body: &'a Block,
}

impl SourceFile {
    /// Parses the text of a file.
    ///
    /// # Errors
    ///
    /// Fails if the text is not valid Rust.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self> {
        let tokens: TokenStream =
            text.parse().map_err(|error| anyhow::anyhow!("cannot parse {path}: {error}"))?;
        let syntax: syn::File =
            syn::parse2(tokens.clone()).with_context(|| format!("cannot parse {path}"))?;
        let mut tests = TestLines::default();
        tests.visit_file(&syntax);
        Ok(Self { path: path.to_owned(), text: text.to_owned(), tokens, syntax, test_lines: tests.lines })
    }

    /// Returns `true` if a line is compiled for tests only: by an attribute in this file, or because of the name of the
    /// file or folder. Line 0 asks about the file as a whole.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.contains("/tests/")
            || name.ends_with("tests.rs")
            || name.starts_with("test_") && !self.path.starts_with("xtask/")
            || self.test_lines.iter().any(|lines| lines.contains(&line))
    }

    /// Lists the functions of the file that have a body, optionally including nested ones.
    pub(crate) fn functions(&self, nested: bool) -> Vec<SourceFunction<'_>> {
        let mut all = FunctionCollector { found: Vec::new(), nested };
        all.visit_file(&self.syntax);
        all.found
    }
}

/// Returns `true` for an item with `#[cfg(test)]`, `#[test]`, or a test attribute of another crate, such as
/// `tokio::test`.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("cfg") {
            return attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test");
        }
        attribute.path().segments.last().is_some_and(|last| last.ident == "test")
    })
}

/// Returns the attributes of an item, or none for kinds of items that the rules do not use.
pub(crate) fn item_attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Collects all tokens in source order, including those inside of groups.
pub(crate) fn flatten(tokens: TokenStream, into: &mut Vec<TokenTree>) {
    for token in tokens {
        if let TokenTree::Group(group) = &token {
            let inside = group.stream();
            into.push(token);
            flatten(inside, into);
        } else {
            into.push(token);
        }
    }
}

/// Reads and parses every Rust file of the repository.
///
/// # Errors
///
/// Fails if a file cannot be read or parsed.
pub(crate) fn read_all(root: &Path) -> Result<Vec<SourceFile>> {
    let mut paths = Vec::new();
    for folder in SOURCE_FOLDERS {
        find_files(&root.join(folder), &mut paths)?;
    }
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        sources.push(SourceFile::parse(&name, &text)?);
    }
    Ok(sources)
}

fn find_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    // Cargo puts this file into its target folders.
    if folder.join("CACHEDIR.TAG").exists() {
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[derive(Default)]
struct TestLines {
    lines: Vec<RangeInclusive<usize>>,
}

impl<'a> Visit<'a> for TestLines {
    fn visit_item(&mut self, item: &'a Item) {
        if is_for_tests(item_attributes(item)) {
            let span = item.span();
            self.lines.push(span.start().line..=span.end().line);
        } else {
            visit::visit_item(self, item);
        }
    }
}

struct FunctionCollector<'a> {
    found: Vec<SourceFunction<'a>>,
    nested: bool,
}

impl<'a> FunctionCollector<'a> {
    fn add(&mut self, signature: &Signature, body: &'a Block) {
        let line = signature.fn_token.span.start().line;
        self.found.push(SourceFunction { name: signature.ident.to_string(), line, body });
        if self.nested {
            self.visit_block(body);
        }
    }
}

impl<'a> Visit<'a> for FunctionCollector<'a> {
    fn visit_item_fn(&mut self, function: &'a ItemFn) {
        self.add(&function.sig, &function.block);
    }

    fn visit_impl_item_fn(&mut self, function: &'a ImplItemFn) {
        self.add(&function.sig, &function.block);
    }

    fn visit_trait_item_fn(&mut self, function: &'a TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
    }
}
