//! `cargo xtask docs`: builds the documentation as a book, with the help of every command, and checks its links.

mod llms_index;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::tidy::{self, links::resolve_link};

const MDBOOK_VERSION: &str = "0.5.4";
const TOOLS_FOLDER: &str = "target/tools";
/// Copy of `book.toml` and `docs/`, plus the generated pages.
const SOURCE_FOLDER: &str = "target/book-src";
const BOOK_FOLDER: &str = "target/book";
const COMMANDS_PAGE: &str = "reference/commands.md";
/// The draft chapter of `docs/SUMMARY.md` that [`COMMANDS_PAGE`] replaces.
const COMMANDS_CHAPTER: &str = "[Commands]()";
/// Path of a built sessionwatch whose help is printed. If unset, `cargo run` builds one.
const PROGRAM_VARIABLE: &str = "SESSIONWATCH_PROGRAM";
/// Pages that mdBook derives from the chapters. Their links repeat those of the chapters, and are not checked.
const DERIVED_PAGES: [&str; 3] = ["404.html", "print.html", "toc.html"];

/// Builds the book into `target/book`.
///
/// # Errors
///
/// Fails if mdBook cannot be installed or fails, the help cannot be printed, or a link of the book is broken.
pub(crate) fn build_book() -> Result<()> {
    std::env::set_current_dir(tidy::REPOSITORY_ROOT)
        .with_context(|| format!("{} does not exist", tidy::REPOSITORY_ROOT))?;
    let mdbook = install_mdbook()?;
    for folder in [SOURCE_FOLDER, BOOK_FOLDER] {
        if Path::new(folder).exists() {
            std::fs::remove_dir_all(folder)?;
        }
    }
    copy_sources()?;
    write_commands_page()?;
    let built = Command::new(&mdbook)
        .args(["build", SOURCE_FOLDER, "--dest-dir"])
        .arg(std::path::absolute(BOOK_FOLDER)?)
        .status()
        .context("cannot run mdBook")?;
    if !built.success() {
        bail!("mdBook failed");
    }
    llms_index::write_llms_index(&Path::new(SOURCE_FOLDER).join("docs"), Path::new(BOOK_FOLDER))?;
    check_book(Path::new(BOOK_FOLDER))?;
    super::print_message(&format!("built {BOOK_FOLDER}/index.html"));
    Ok(())
}

fn install_mdbook() -> Result<PathBuf> {
    let program = Path::new(TOOLS_FOLDER).join("bin/mdbook");
    let installed = Command::new(&program).arg("--version").output();
    if installed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(MDBOOK_VERSION)) {
        return Ok(program);
    }
    super::run_cargo_step(&[
        "install",
        "--root",
        TOOLS_FOLDER,
        "--locked",
        "mdbook",
        "--version",
        MDBOOK_VERSION,
        // Without the preview server, which brings most of the dependencies.
        "--no-default-features",
        "--features",
        "search",
    ])?;
    Ok(program)
}

/// Copies `docs/` and the files outside of it that its pages link to.
fn copy_sources() -> Result<()> {
    std::fs::create_dir_all(SOURCE_FOLDER)?;
    std::fs::copy("book.toml", Path::new(SOURCE_FOLDER).join("book.toml"))?;
    for path in list_files(Path::new("docs"))? {
        let copy = Path::new(SOURCE_FOLDER).join(&path);
        std::fs::create_dir_all(copy.parent().context("a file of docs/ has no parent folder")?)?;
        if path.extension().is_none_or(|ending| ending != "md") {
            std::fs::copy(&path, &copy)?;
            continue;
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let page = path.to_string_lossy().replace('\\', "/");
        let (text, attached) = rewrite_links(&page, &text, |path| Path::new(path).is_file());
        std::fs::write(copy.with_file_name(copy_name(&page)), text)?;
        for file in attached {
            let copy = Path::new(SOURCE_FOLDER).join("docs/files").join(&file);
            std::fs::create_dir_all(copy.parent().context("a linked file has no parent folder")?)?;
            std::fs::copy(&file, &copy)?;
        }
    }
    Ok(())
}

/// Returns the name of the copy of a page. mdBook builds `index.html` from `README.md` without rewriting links to it.
fn copy_name(page: &str) -> String {
    page.rsplit('/').next().unwrap_or(page).replace("README.md", "index.md")
}

/// Rewrites the links of a page for the book, which contains only `docs/`. Links to other files lead to copies below
/// `files/`; links to other folders are reduced to their text. Returns the text and the files to copy.
fn rewrite_links(page: &str, text: &str, is_file: impl Fn(&str) -> bool) -> (String, BTreeSet<String>) {
    let (mut rewritten, mut attached, mut rest) = (String::new(), BTreeSet::new(), text);
    let to_book_root = "../".repeat(page.matches('/').count() - 1);
    while let Some((before, after)) = rest.split_once("](") {
        let (target, after) = after.split_once(')').unwrap_or((after, ""));
        match (resolve_link(page, target), before.rfind('[')) {
            (Some((path, _)), _) if path.starts_with("docs/") => {
                let _ = write!(rewritten, "{before}]({})", target.replace("README.md", "index.md"));
            }
            (Some((path, _)), _) if is_file(&path) => {
                let _ = write!(rewritten, "{before}]({to_book_root}files/{path})");
                attached.insert(path);
            }
            (Some(_), Some(opening)) => {
                rewritten.push_str(&before[..opening]);
                rewritten.push_str(&before[opening + 1..]);
            }
            _ => {
                let _ = write!(rewritten, "{before}]({target})");
            }
        }
        rest = after;
    }
    rewritten.push_str(rest);
    (rewritten, attached)
}

/// Writes the page with the help of every command, and adds it to the summary.
fn write_commands_page() -> Result<()> {
    let mut page = "# Commands\n\nEvery command and its options, as `--help` prints them.\n".to_owned();
    append_help(&[], &mut page)?;
    let docs = Path::new(SOURCE_FOLDER).join("docs");
    let path = docs.join(COMMANDS_PAGE);
    std::fs::create_dir_all(path.parent().context("the commands page has no parent folder")?)?;
    std::fs::write(path, page)?;
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md"))?;
    if !summary.contains(COMMANDS_CHAPTER) {
        bail!("docs/SUMMARY.md has no chapter {COMMANDS_CHAPTER}");
    }
    let chapter = COMMANDS_CHAPTER.replace("()", &format!("({COMMANDS_PAGE})"));
    std::fs::write(docs.join("SUMMARY.md"), summary.replace(COMMANDS_CHAPTER, &chapter))?;
    Ok(())
}

/// Appends the help of a command and of its subcommands.
fn append_help(command: &[String], page: &mut String) -> Result<()> {
    let help = print_help(command)?;
    let name = [&["sessionwatch".to_owned()], command].concat().join(" ");
    let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", help.trim_end());
    for subcommand in list_subcommands(&help) {
        append_help(&[command, &[subcommand]].concat(), page)?;
    }
    Ok(())
}

fn print_help(command: &[String]) -> Result<String> {
    let mut help = match std::env::var_os(PROGRAM_VARIABLE) {
        Some(program) => Command::new(program),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--locked", "--package", "sessionwatch", "--"]);
            cargo
        }
    };
    // Help shows the values of set variables, but the page must be the same on every machine.
    for variable in ["SESSIONWATCH_CONFIG", "SESSIONWATCH_LOG_FORMAT"] {
        help.env_remove(variable);
    }
    let printed = help.args(command).arg("--help").output().context("cannot run sessionwatch")?;
    if !printed.status.success() {
        bail!("`{} --help` failed: {}", command.join(" "), String::from_utf8_lossy(&printed.stderr));
    }
    String::from_utf8(printed.stdout).context("the help is not UTF-8")
}

/// Lists the subcommands that a help page names, except `help`.
fn list_subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| line.trim() != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // Continuation lines of a description are indented further.
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Checks the links of the built pages. `cargo xtask tidy` checks the Markdown sources, but neither mdBook's
/// translation of their links nor generated pages.
fn check_book(folder: &Path) -> Result<()> {
    let mut pages = BTreeMap::new();
    let mut files = BTreeSet::new();
    for file in list_files(folder)? {
        let path = file.strip_prefix(folder)?.to_string_lossy().replace('\\', "/");
        if path.ends_with(".html") && !DERIVED_PAGES.contains(&path.as_str()) {
            pages.insert(path.clone(), std::fs::read_to_string(&file)?);
        }
        files.insert(path);
    }
    let broken = find_broken_links(&pages, &files);
    for problem in &broken {
        super::print_message(problem);
    }
    if broken.is_empty() { Ok(()) } else { bail!("broken links in the book: {}", broken.len()) }
}

fn find_broken_links(pages: &BTreeMap<String, String>, files: &BTreeSet<String>) -> Vec<String> {
    let mut broken = Vec::new();
    for (page, html) in pages {
        let links = list_attributes(html, "href").into_iter().chain(list_attributes(html, "src"));
        for link in links {
            let Some((path, fragment)) = resolve_link(page, link) else { continue };
            let exists = files.contains(&path);
            let anchored = fragment.is_empty()
                || pages
                    .get(&path)
                    .is_none_or(|html| list_attributes(html, "id").contains(&fragment.as_str()));
            if !(exists && anchored) {
                broken.push(format!("{page}: broken link to {link}"));
            }
        }
    }
    broken
}

fn list_attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let opening = format!(" {name}=\"");
    html.match_indices(&opening)
        .filter_map(|(at, opening)| html[at + opening.len()..].split('"').next())
        .collect()
}

fn list_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { files.extend(list_files(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subcommands_are_read_from_the_help() {
        let help = "Monitor sessions\n\nUsage: sessionwatch <COMMAND>\n\nCommands:\n  check   Check the session table\n\
            \x20         once\n  serve   Monitor\n  help    Print help\n\nOptions:\n  -h, --help\n";
        assert_eq!(list_subcommands(help), ["check", "serve"]);
        assert!(list_subcommands("Check\n\nOptions:\n  -h, --help\n").is_empty());
    }

    #[test]
    fn links_are_rewritten_for_the_book() {
        let text = "[all](../../example.toml), [files](../../packaging), [page](../b.md), [index](README.md#x) \
            and [site](https://example.org/README.md)";
        let (rewritten, attached) = rewrite_links("docs/checks/a.md", text, |path| path == "example.toml");
        assert_eq!(
            rewritten,
            "[all](../files/example.toml), files, [page](../b.md), [index](index.md#x) \
            and [site](https://example.org/README.md)"
        );
        assert_eq!(attached.into_iter().collect::<Vec<_>>(), ["example.toml"]);
        assert_eq!(copy_name("docs/checks/README.md"), "index.md");
    }

    #[test]
    fn broken_links_of_the_book_are_found() {
        let html = "<a href=\"b.html#there\"> <a href=\"b.html#gone\"> <img src=\"c.png\"> \
            <a href=\"https://example.org\">";
        let pages = BTreeMap::from([
            ("a.html".to_owned(), html.to_owned()),
            ("b.html".to_owned(), "<h1 id=\"there\">".to_owned()),
        ]);
        let files = pages.keys().cloned().collect();
        let broken = find_broken_links(&pages, &files);
        assert_eq!(broken, ["a.html: broken link to b.html#gone", "a.html: broken link to c.png"]);
    }
}
