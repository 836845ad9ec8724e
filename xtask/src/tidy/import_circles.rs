//! Rule: sibling modules, at the top of a crate or inside another module, do not import each other in a circle, so that
//! each can be understood and extracted without the modules above it. Test code does not count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Item, ItemMod, ItemUse, Macro, Path, UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

use super::{
    TidyFinding, TidyRule,
    source::{SourceFile, flatten, is_for_tests, item_attributes},
};

/// Path of a module from the root of its crate, which is the empty path.
type ModulePath = Vec<String>;
/// Imports among sibling modules, from importer to imported, each with its first occurrence.
type ModuleEdges<'a> = BTreeMap<(String, String), ImportSite<'a>>;

#[derive(Clone, Copy)]
struct ImportSite<'a> {
    source: &'a SourceFile,
    line: usize,
}

pub(crate) fn check(sources: &[SourceFile], findings: &mut Vec<TidyFinding>) {
    let mut crates = BTreeMap::<&str, Vec<&SourceFile>>::new();
    for source in sources {
        if let Some((folder, _)) = source.path.split_once("/src/") {
            crates.entry(folder).or_default().push(source);
        }
    }
    for (folder, sources) in crates {
        check_crate(folder, &sources, findings);
    }
}

fn check_crate(folder: &str, sources: &[&SourceFile], findings: &mut Vec<TidyFinding>) {
    let tests = test_modules(sources);
    let modules = CrateModules::find(sources);
    let mut groups = BTreeMap::<ModulePath, ModuleEdges<'_>>::new();
    for source in sources {
        let path = module_path(source);
        let is_for_tests = (1..=path.len()).any(|depth| tests.contains(&path[..depth]));
        if is_for_tests || source.is_test(0) {
            continue;
        }
        let mut visitor = ImportVisitor { modules: &modules, module: path, uses: Vec::new() };
        visitor.visit_file(&source.syntax);
        for ModuleUse { inside, from, to, line } in visitor.uses {
            groups.entry(inside).or_default().entry((from, to)).or_insert(ImportSite { source, line });
        }
    }
    for edges in groups.values() {
        for ((from, to), place) in edges {
            let Some(path_back) = find_shortest_path(edges, to, from) else { continue };
            let message = format!(
                "`{from}` and `{to}` import each other ({from} → {}): move what both need to a module below them",
                path_back.join(" → ")
            );
            let mut finding = TidyFinding::new(TidyRule::ImportCircle, place.source, place.line, message);
            finding.counted_by = format!("{folder}/src");
            findings.push(finding);
        }
    }
}

/// Returns the modules on the shortest path between two modules, found by breadth-first search, or `None`.
fn find_shortest_path(edges: &ModuleEdges<'_>, from: &str, to: &str) -> Option<Vec<String>> {
    let mut open = VecDeque::from([vec![from.to_owned()]]);
    let mut known = BTreeSet::from([from.to_owned()]);
    while let Some(path) = open.pop_front() {
        let last = path.last()?;
        if last == to {
            return Some(path);
        }
        for (_, next) in edges.keys().filter(|(start, _)| start == last) {
            if known.insert(next.clone()) {
                open.push_back(path.iter().chain([next]).cloned().collect());
            }
        }
    }
    None
}

/// Derives the module path from the file: `crates/a/src/b/c.rs` is `b::c`. Crate roots have the empty path.
fn module_path(source: &SourceFile) -> ModulePath {
    let Some((_, inside)) = source.path.split_once("/src/") else { return Vec::new() };
    let inside = inside.strip_suffix(".rs").unwrap_or(inside);
    if matches!(inside, "lib" | "main") || inside.starts_with("bin/") {
        return Vec::new();
    }
    inside.split('/').filter(|part| *part != "mod").map(str::to_owned).collect()
}

/// Lists modules in their own files that are declared for tests only.
fn test_modules(sources: &[&SourceFile]) -> BTreeSet<ModulePath> {
    let mut found = BTreeSet::new();
    for source in sources {
        for item in &source.syntax.items {
            if let Item::Mod(module) = item
                && is_for_tests(&module.attrs)
            {
                let mut path = module_path(source);
                path.push(module.ident.to_string());
                found.insert(path);
            }
        }
    }
    found
}

/// The modules of a crate, and the names that they import.
struct CrateModules {
    paths: BTreeSet<ModulePath>,
    /// Names that a module imports with `use` from its own submodules, each with that submodule.
    names: BTreeMap<(ModulePath, String), String>,
}

impl CrateModules {
    fn find(sources: &[&SourceFile]) -> Self {
        let paths: BTreeSet<ModulePath> = sources
            .iter()
            .flat_map(|source| {
                let path = module_path(source);
                (1..=path.len()).map(move |depth| path[..depth].to_vec()).collect::<Vec<_>>()
            })
            .collect();
        let mut names = BTreeMap::new();
        for source in sources {
            let module = module_path(source);
            for item in &source.syntax.items {
                let Item::Use(item) = item else { continue };
                for import in paths_of(&item.tree) {
                    let path = resolve_path(&module, &import.segments)
                        .unwrap_or_else(|| module.iter().chain(&import.segments).cloned().collect());
                    if let Some(child) = path.get(module.len())
                        && path.starts_with(&module)
                        && paths.contains(&path[..=module.len()])
                    {
                        names.insert((module.clone(), import.name), child.clone());
                    }
                }
            }
        }
        Self { paths, names }
    }

    /// Returns the submodule at depth `inside` that a path refers to, directly or by an imported name.
    fn child<'a>(&'a self, path: &'a [String], inside: usize) -> Option<&'a String> {
        let name = path.get(inside)?;
        if self.paths.contains(&path[..=inside]) {
            return Some(name);
        }
        self.names.get(&(path[..inside].to_vec(), name.clone()))
    }
}

/// Resolves a path that starts with `crate`, `self` or `super`. Returns `None` for other paths.
fn resolve_path(module: &[String], segments: &[String]) -> Option<ModulePath> {
    let (first, mut rest) = segments.split_first()?;
    let mut base = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module[..module.len().saturating_sub(1)].to_vec(),
        _ => return None,
    };
    while let Some((next, after)) = rest.split_first()
        && next == "super"
    {
        base.pop();
        rest = after;
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// One path of a `use` item, and the name that it introduces.
struct ImportedPath {
    segments: Vec<String>,
    name: String,
}

fn paths_of(tree: &UseTree) -> Vec<ImportedPath> {
    let leaf = |name: &syn::Ident, alias: &syn::Ident| {
        vec![ImportedPath { segments: vec![name.to_string()], name: alias.to_string() }]
    };
    match tree {
        UseTree::Name(name) => leaf(&name.ident, &name.ident),
        UseTree::Rename(rename) => leaf(&rename.ident, &rename.rename),
        UseTree::Glob(_) => vec![ImportedPath { segments: vec!["*".to_owned()], name: "*".to_owned() }],
        UseTree::Group(group) => group.items.iter().flat_map(paths_of).collect(),
        UseTree::Path(path) => {
            let mut inside = paths_of(&path.tree);
            for import in &mut inside {
                import.segments.insert(0, path.ident.to_string());
            }
            inside
        }
    }
}

/// A use of one sibling module by another.
struct ModuleUse {
    /// Parent of both modules.
    inside: ModulePath,
    from: String,
    to: String,
    line: usize,
}

struct ImportVisitor<'a> {
    modules: &'a CrateModules,
    /// Module that is being visited.
    module: ModulePath,
    uses: Vec<ModuleUse>,
}

impl ImportVisitor<'_> {
    fn add(&mut self, segments: &[String], line: usize) {
        let Some(path) = resolve_path(&self.module, segments) else { return };
        let shared = self.module.iter().zip(&path).take_while(|(here, there)| here == there).count();
        let Some(from) = self.module.get(shared) else { return };
        let is_module = self.modules.paths.contains(&self.module[..=shared]);
        if let Some(to) = self.modules.child(&path, shared).filter(|to| is_module && *to != from) {
            let (inside, from, to) = (path[..shared].to_vec(), from.clone(), to.clone());
            self.uses.push(ModuleUse { inside, from, to, line });
        }
    }

    /// Adds the paths in the arguments of a macro call, which syn does not parse.
    fn add_tokens(&mut self, tokens: &TokenStream) {
        let mut flat = Vec::new();
        flatten(tokens.clone(), &mut flat);
        let mut index = 0;
        while index < flat.len() {
            let start = index;
            let mut segments = Vec::new();
            while let Some(TokenTree::Ident(name)) = flat.get(index) {
                segments.push(name.to_string());
                index += 1;
                if !(is_colon(flat.get(index)) && is_colon(flat.get(index + 1))) {
                    break;
                }
                index += 2;
            }
            if segments.len() > 1 {
                self.add(&segments, flat[start].span().start().line);
            }
            index = index.max(start + 1);
        }
    }
}

fn is_colon(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}

impl<'a> Visit<'a> for ImportVisitor<'_> {
    fn visit_item(&mut self, item: &'a Item) {
        if !is_for_tests(item_attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'a ItemMod) {
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        for import in paths_of(&item.tree) {
            self.add(&import.segments, item.span().start().line);
        }
    }

    fn visit_path(&mut self, path: &'a Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&segments, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a Macro) {
        self.add_tokens(&call.tokens);
        visit::visit_macro(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(files: &[[&str; 2]]) -> Vec<String> {
        let parse =
            |file: &[&str; 2]| SourceFile::parse(&format!("crates/x/src/{}", file[0]), file[1]).unwrap();
        let sources: Vec<SourceFile> = files.iter().map(parse).collect();
        let mut findings = Vec::new();
        check(&sources, &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn modules_that_import_each_other_are_a_circle() {
        let found = messages(&[
            ["lib.rs", "mod a; mod b;"],
            ["a.rs", "use std::io;\nuse crate::{b::Thing};"],
            ["b/inner.rs", "fn f() { super::super::a::g(); }"],
        ]);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].starts_with("crates/x/src/a.rs:2: `a` and `b` import each other (a → b → a)"));
        assert!(found[1].starts_with("crates/x/src/b/inner.rs:1: `b` and `a` import each other"));
    }

    #[test]
    fn circles_through_a_third_module_a_macro_and_a_root_export_are_found() {
        let found = messages(&[
            ["lib.rs", "mod a; mod b; mod c; pub use c::Thing;"],
            ["a.rs", "fn f() { println!(\"{}\", crate::b::NAME); }"],
            ["b.rs", "use crate::Thing;"],
            ["c.rs", "use super::a;"],
        ]);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found[0].contains("(a → b → c → a)"), "{}", found[0]);
    }

    #[test]
    fn circles_of_nested_modules_are_found_also_through_an_export_of_their_parent() {
        let found = messages(&[
            ["lib.rs", "mod a;"],
            ["a.rs", "mod one; mod two; pub use one::Thing;"],
            ["a/one.rs", "use super::two::f;"],
            ["a/two/deep.rs", "use crate::a::Thing;"],
        ]);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(
            found[0].contains("`one` and `two` import") && found[1].contains("`two` and `one` import"),
            "{found:#?}"
        );
        let found = messages(&[["a.rs", "mod one; fn f() {}"], ["a/one.rs", "use super::f;"]]);
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn one_way_imports_tests_and_the_crate_root_pass() {
        let found = messages(&[
            ["lib.rs", "mod a; mod b; use a::f;"],
            ["a.rs", "use crate::{b, f};"],
            ["b.rs", "#[cfg(test)]\nmod tests { use crate::a; }\n#[cfg(test)]\nmod checks;"],
            ["b/checks.rs", "use crate::a;"],
        ]);
        assert!(found.is_empty(), "{found:#?}");
    }
}
