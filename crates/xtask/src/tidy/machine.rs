//! Nothing of the machine that a file was written on: no home folder, no host of a package registry.

use std::process::Command;

use super::Text;
use crate::shell;

/// Written apart so that this file does not hold what it looks for.
const HOMES: [&str; 3] = [concat!("/ho", "me/"), concat!("/Use", "rs/"), concat!("/ro", "ot/")];
const REGISTRIES: [&str; 6] = [
    concat!("registry.", "npmjs"),
    concat!("registry.", "yarnpkg"),
    concat!("py", "pi.org"),
    concat!("python", "hosted.org"),
    concat!("static.", "crates.io"),
    concat!("index.", "crates.io"),
];

pub(crate) fn check(files: &[Text]) -> Vec<String> {
    let mut words: Vec<String> = HOMES.iter().chain(&REGISTRIES).map(|word| (*word).to_owned()).collect();
    words.extend(configured());
    // Cargo writes its lock file, and names the index there on every machine alike.
    files.iter().filter(|file| file.path != "Cargo.lock").flat_map(|file| of_file(file, &words)).collect()
}

fn of_file(file: &Text, words: &[String]) -> Vec<String> {
    let lines = file.text.lines().enumerate();
    lines
        .flat_map(|(number, line)| {
            let found = words.iter().filter(move |word| line.contains(word.as_str()));
            found.map(move |word| format!("{}:{}: holds {word:?}", file.path, number + 1))
        })
        .collect()
}

/// The registries that this machine is set up to use.
fn configured() -> Vec<String> {
    [("npm", ["config", "get", "registry"]), ("python3", ["-m", "pip", "config"])]
        .into_iter()
        .filter_map(|(program, arguments)| {
            let mut command = Command::new(program);
            command.args(arguments);
            if program == "python3" {
                command.args(["get", "global.index-url"]);
            }
            host(&shell::output(&mut command).ok()?)
        })
        .collect()
}

fn host(url: &str) -> Option<String> {
    let (_, rest) = url.trim().split_once("://")?;
    let authority = rest.split('/').next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    host.contains('.').then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_folder_and_a_registry_are_found() {
        let words = vec![HOMES[0].to_owned(), "mirror.example".to_owned()];
        let text = format!("a\nb {}me\nhttps://mirror.example/x\n", HOMES[0]);
        assert_eq!(of_file(&Text { path: "f".to_owned(), text }, &words).len(), 2);
    }

    #[test]
    fn the_host_of_a_url_is_told() {
        assert_eq!(host("https://me:secret@mirror.example:8080/simple\n").as_deref(), Some("mirror.example"));
        assert_eq!(host("undefined"), None);
    }
}
