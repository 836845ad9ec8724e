//! The software bill of materials: every crate that is compiled into the program, as CycloneDX 1.6.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::platform::RELEASE_PLATFORMS;

/// A crate, by name and version.
type CrateId = (String, String);

/// Writes `sessionwatch-VERSION.cdx.json`. See <https://cyclonedx.org/docs/1.6/json/>.
///
/// # Errors
///
/// Fails if cargo fails, or its description of the dependencies lacks a part.
pub(super) fn write_sbom(version: &str, output: &Path) -> Result<()> {
    let metadata: Value =
        serde_json::from_slice(&run_cargo(&["metadata", "--locked", "--format-version=1"])?)?;
    // Metadata lists what any platform, feature or test may need; the tree is what is compiled.
    let target = RELEASE_PLATFORMS[0].rust_target;
    let tree =
        ["tree", "--locked", "--package=sessionwatch", "--edges=normal,build", "--prefix=none", "--target"];
    let tree = run_cargo(&[&tree[..], &[target]].concat())?;
    let compiled = read_tree(&String::from_utf8_lossy(&tree));
    let checksums = read_checksums(&std::fs::read_to_string("Cargo.lock").context("cannot read Cargo.lock")?);
    let document = describe_components(&metadata, &compiled, &checksums)?;
    let file = output.join(format!("sessionwatch-{version}.cdx.json"));
    Ok(std::fs::write(file, format!("{document:#}\n"))?)
}

fn run_cargo(arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(env!("CARGO")).args(arguments).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("`cargo {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// Returns the crates of a tree without prefixes, whose lines begin with `NAME vVERSION`.
fn read_tree(tree: &str) -> BTreeSet<CrateId> {
    let crates = tree.lines().filter_map(|line| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    });
    crates.collect()
}

/// Returns the SHA-256 of each crate of a registry, by name and version.
fn read_checksums(lock: &str) -> BTreeMap<CrateId, String> {
    let packages = lock.split("[[package]]").skip(1);
    let checksums = packages.filter_map(|package| {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""));
            line.map(|text| text.trim_end_matches('"').to_owned())
        };
        Some(((field("name")?, field("version")?), field("checksum")?))
    });
    checksums.collect()
}

fn describe_components(
    metadata: &Value,
    compiled: &BTreeSet<CrateId>,
    checksums: &BTreeMap<CrateId, String>,
) -> Result<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages: BTreeMap<String, Value> = list(&metadata["packages"])
        .into_iter()
        .filter(|package| compiled.contains(&crate_id(package)))
        .filter_map(|package| Some((package["id"].as_str()?.to_owned(), package)))
        .collect();
    let program = packages.values().find(|package| package["name"] == "sessionwatch");
    let program = program.context("cargo describes no package `sessionwatch`")?;
    let component = |package: &Value| {
        let (name, version) = crate_id(package);
        let mut component = json!({
            "type": "library", "bom-ref": component_reference(package), "name": name, "version": version,
            "purl": format!("pkg:cargo/{name}@{version}"),
        });
        if let Some(license) = package["license"].as_str() {
            component["licenses"] = json!([{ "expression": (license.replace('/', " OR ")) }]);
        }
        if let Some(checksum) = checksums.get(&(name, version)) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        component
    };
    let mut application = component(program);
    application["type"] = "application".into();
    let edges = list(&metadata["resolve"]["nodes"]).into_iter().filter_map(|node| {
        let package = packages.get(node["id"].as_str()?)?;
        let dependencies = list(&node["deps"])
            .into_iter()
            .filter(|dependency| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"));
        let needed: BTreeSet<String> = dependencies
            .filter_map(|dependency| Some(component_reference(packages.get(dependency["pkg"].as_str()?)?)))
            .collect();
        Some(json!({ "ref": component_reference(package), "dependsOn": needed }))
    });
    let edges: Vec<Value> = edges.collect();
    let components = packages.values().filter(|package| *package != program);
    Ok(json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": { "component": application },
        "components": components.map(component).collect::<Vec<_>>(),
        "dependencies": edges,
    }))
}

fn crate_id(package: &Value) -> CrateId {
    let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
    (text("name"), text("version"))
}

/// Identifies a component within the document.
fn component_reference(package: &Value) -> String {
    let (name, version) = crate_id(package);
    format!("{name}@{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_compiled_into_the_program_is_listed() {
        let package =
            |name: &str| json!({ "id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0" });
        let dependency = |name: &str, kind: Value| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": (["sessionwatch", "direct", "indirect", "only-tests", "other"].map(package)),
            "resolve": { "nodes": [
                { "id": "sessionwatch",
                  "deps": [dependency("direct", Value::Null), dependency("only-tests", "dev".into())] },
                { "id": "direct", "deps": [dependency("indirect", "build".into())] },
                { "id": "indirect", "deps": [] }, { "id": "only-tests", "deps": [] }, { "id": "other", "deps": [] },
            ] },
        });
        let lock = "[[package]]\nname = \"direct\"\nversion = \"1.0.0\"\nchecksum = \"abc\"\n\n\
                    [[package]]\nname = \"sessionwatch\"\nversion = \"1.0.0\"\n";
        let tree =
            "sessionwatch v1.0.0 (/x)\ndirect v1.0.0\nindirect v1.0.0 (proc-macro)\ndirect v1.0.0 (*)\n";
        let document = describe_components(&metadata, &read_tree(tree), &read_checksums(lock)).unwrap();
        let components = document["components"].as_array().unwrap();
        let names: Vec<_> = components.iter().map(|component| component["name"].clone()).collect();
        assert_eq!(names, ["direct", "indirect"]);
        assert_eq!(components[0]["hashes"][0]["content"], "abc");
        assert_eq!(components[0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        let edges = json!({ "ref": "sessionwatch@1.0.0", "dependsOn": ["direct@1.0.0"] });
        assert_eq!(document["dependencies"][0], edges);
    }
}
