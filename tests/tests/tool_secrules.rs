//! `portcullis import-secrules`: what has an equal refuses the same here, what has none is named with its line, and nothing makes it panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use portcullis_cli::secrules::{Imported, import};
use portcullis_tests::elsewhere::skipped;
use portcullis_tests::paths::{self, WorkDir};
use proptest::prelude::*;
use serde_json::Value;

fn tool(arguments: &[&str]) -> Output {
    Command::new(paths::tool().unwrap()).args(arguments).output().unwrap()
}

fn own() -> PathBuf {
    paths::root().join("tests/secrules/rules.conf")
}

/// A configuration with these rules and nothing else.
fn configuration(imported: &str) -> String {
    format!(
        "version: 1\n{imported}limits: {{all: {{key: ip, rate: 100/min}}}}\ndefaults: {{limits: [all], payload: {{}}}}\nrules:\n\
         - {{name: all, match: {{}}, allow: public}}\n"
    )
}

/// `portcullis check` of a configuration with these rules: what it says about them.
fn mistakes(work: &Path, imported: &str) -> Vec<String> {
    let file = work.join("filter.yaml");
    std::fs::write(&file, configuration(imported)).unwrap();
    let output = tool(&["check", "--json", file.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let about = |line: &&str| line.contains("payload_rules") || line.contains("\"error\"");
    text.lines().filter(about).map(str::to_owned).collect()
}

fn rule<'a>(imported: &'a Imported, name: &str) -> &'a Value {
    &imported.rules.get(name).unwrap_or_else(|| panic!("{name} is not in {:?}", imported.rules.keys())).0
}

#[test]
fn what_has_an_equal_is_written_as_a_rule() {
    let text = std::fs::read_to_string(own()).unwrap();
    let imported = import(&[("rules.conf".to_owned(), text)], 1);
    let expected = [
        (
            "secrule-1001",
            r#"{"targets":["args"],"transform":["url_decode_uni","lowercase"],"regex":"(?i)\\bunion\\s+select\\b","message":"SQL, or what looks like it","tags":["attack-sqli"]}"#,
        ),
        ("secrule-1002", r#"{"targets":["header:User-Agent"],"phrases":["nikto","sqlmap"]}"#),
        (
            "secrule-1003",
            r#"{"targets":["args"],"except_targets":["query:q","form:q","multipart:q"],"contains":["\"quoted\""],"weight":3}"#,
        ),
        ("secrule-1004", r#"{"targets":["method"],"within":"GET,POST","not":true}"#),
        (
            "secrule-1005",
            r#"{"all":[{"targets":["method"],"equals":["POST"]},{"targets":["path"],"ends_with":["/export"]},{"targets":["form:columns","multipart:columns"],"transform":["trim"],"regex":"(?m)^\\*$"}]}"#,
        ),
        (
            "secrule-1006",
            r#"{"targets":["cookies","cookie_names"],"except_targets":["cookie:*__utm*"],"detect":"sqli"}"#,
        ),
        ("secrule-1007", r#"{"targets":["query"],"detect":"xss"}"#),
        ("secrule-1008", r#"{"targets":["query_string"],"begins_with":["debug"]}"#),
        ("secrule-1009", r#"{"targets":["args"],"contains":["of level 1"]}"#),
        // The variable that it also asks about is named below.
        ("secrule-2006", r#"{"targets":["args"],"contains":["x"]}"#),
    ];
    for (name, json) in expected {
        assert_eq!(rule(&imported, name), &serde_json::from_str::<Value>(json).unwrap(), "{name}");
    }
    assert_eq!(imported.rules.len(), expected.len(), "{:?}", imported.rules.keys());
}

#[test]
fn what_has_no_equal_is_named_with_its_line() {
    let output = tool(&["import-secrules", own().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let text = std::fs::read_to_string(own()).unwrap();
    for (written, says) in [
        ("SecRuleEngine", "it is no rule"),
        ("SecDefaultAction", "only whether rules refuse"),
        ("id:2001", "look-behind, is not supported"),
        ("id:2002", "the variables &ARGS"),
        ("id:2003", "phase 4"),
        ("id:2004", "it refuses nothing"),
        ("id:2005", "the transformation \"sha1\""),
        ("id:2006", "the variable TX:foo: it is not looked at"),
        ("id:2007", "the variables MATCHED_VAR"),
        ("id:2008", "the operator @ipmatch"),
        ("id:2009", "the exclusion !ARGS:/^[ab]$/"),
        ("id:1001,phase:2,deny\"", "that of an earlier rule"),
        ("id:2010", "a variable in its argument"),
        ("id:2011", "it asks nothing"),
        ("id:2012", "its chain has no end"),
        ("id:2013", "skipafter"),
        ("id:2014", "secrule-2013 before it may skip it"),
        ("id:2015", "it is of paranoia level 2"),
        ("@contains x\n", "a quote that does not end"),
    ] {
        let at = text.find(written).unwrap_or_else(|| panic!("{written} is not in the file"));
        let line = text.split_at(at).0.matches('\n').count() + 1;
        let place = format!("rules.conf:{line}: no equal: ");
        assert!(said.lines().any(|l| l.contains(&place) && l.contains(says)), "{written} ({line}): {says}\n{said}");
    }
    assert!(said.ends_with("10 of 25 rules carried over\n"), "{said}");
    // The same as data, and in comments.
    let json = tool(&["import-secrules", "--json", own().to_str().unwrap()]);
    let data: Value = serde_json::from_slice(&json.stderr).unwrap();
    assert_eq!((&data["rules"], &data["carried_over"]), (&25.into(), &10.into()));
    let yaml = String::from_utf8(json.stdout).unwrap();
    for left_out in data["left_out"].as_array().unwrap() {
        assert!(yaml.contains(left_out["problem"].as_str().unwrap()), "{left_out}");
    }
    let work = WorkDir::create("secrules").unwrap();
    assert_eq!(mistakes(work.path(), &yaml), Vec::<String>::new());
}

#[test]
fn exit_codes_are_those_of_convert() {
    let work = WorkDir::create("secrules-codes").unwrap();
    let good = work.path().join("good.conf");
    std::fs::write(&good, "SecRule ARGS \"@contains x\" \"id:1,phase:2,deny\"\n").unwrap();
    assert_eq!(tool(&["import-secrules", good.to_str().unwrap()]).status.code(), Some(0));
    assert_eq!(tool(&["import-secrules", own().to_str().unwrap()]).status.code(), Some(1));
    assert_eq!(tool(&["import-secrules", "/nowhere.conf"]).status.code(), Some(2));
}

#[test]
fn an_imported_rule_refuses_what_it_refused() {
    let work = WorkDir::create("secrules-explain").unwrap();
    let yaml = tool(&["import-secrules", own().to_str().unwrap()]).stdout;
    let file = work.path().join("filter.yaml");
    std::fs::write(&file, configuration(&String::from_utf8(yaml).unwrap())).unwrap();
    let explain = |request: &str, more: &[&str]| {
        let output = tool(&[&["explain", file.to_str().unwrap(), "--request", request], more].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let form = ["--header", "content-type: application/x-www-form-urlencoded", "--body"];
    for (request, more, rule) in [
        ("GET /?q=UNION%2520%20select", &[][..], "secrule-1001"),
        ("GET /", &["--header", "user-agent: Nikto/2"][..], "secrule-1002"),
        ("PUT /", &[], "secrule-1004"),
        ("POST /a/export", &[form[0], form[1], form[2], "columns=%20*%20"], "secrule-1005"),
        ("GET /?debug", &[], "secrule-1008"),
    ] {
        let (code, said) = explain(request, more);
        assert!(code == Some(1) && said.contains(rule), "{request}: {code:?} {said}");
    }
    for (request, more) in [
        ("GET /?q=reunion+selection", &[][..]),
        ("GET /?a=debug", &[]),
        ("GET /?q=%22quoted%22", &[]),
        ("POST /a/export", &[form[0], form[1], form[2], "columns=id"]),
        ("POST /a/export?columns=*", &[]),
    ] {
        let (code, said) = explain(request, more);
        assert_eq!(code, Some(0), "{request}: {said}");
    }
}

/// The rules of Debian's package, unpacked; `None` where it cannot be had.
fn core_rule_set(work: &Path) -> Option<PathBuf> {
    let installed = Path::new("/usr/share/modsecurity-crs/rules");
    if installed.is_dir() {
        return Some(installed.to_owned());
    }
    let quiet = |command: &mut Command| command.current_dir(work).output().is_ok_and(|output| output.status.success());
    if !quiet(Command::new("apt-get").args(["download", "-q", "modsecurity-crs"])) {
        return None;
    }
    let package =
        std::fs::read_dir(work).ok()?.flatten().find(|file| file.path().extension() == Some("deb".as_ref()))?;
    quiet(Command::new("dpkg-deb").arg("-x").arg(package.path()).arg(work.join("crs")))
        .then(|| work.join("crs/usr/share/modsecurity-crs/rules"))
        .filter(|folder| folder.is_dir())
}

#[test]
fn the_core_rule_set_is_read_whole() {
    let work = WorkDir::create("secrules-crs").unwrap();
    let Some(folder) = core_rule_set(work.path()) else {
        skipped("Core Rule Set (the package modsecurity-crs of Debian cannot be had)");
        return;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension() == Some("conf".as_ref()));
    files.sort();
    assert!(files.len() > 10, "{folder:?}");
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|file| (file.display().to_string(), String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned()))
        .collect();
    let imported = import(&texts, 1);
    let torn: Vec<_> =
        imported.left_out.iter().filter(|l| l.problem.contains("quote") || l.problem.contains("no end")).collect();
    assert!(torn.is_empty(), "{torn:?}");
    // Each rule is carried over, or named.
    let named = |id: &str| imported.left_out.iter().any(|left_out| left_out.what == format!("secrule-{id}"));
    for (file, text) in &texts {
        let requests = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        for id in requests.filter_map(|line| line.trim().trim_start_matches('"').strip_prefix("id:")) {
            let id: String = id.chars().take_while(char::is_ascii_digit).collect();
            let is_action = imported.left_out.iter().any(|left_out| left_out.what == format!("SecAction {id}"));
            // Rules that say only at which level others are asked.
            let is_gate = text.split("SecRule").any(|rule| {
                rule.contains(&format!("id:{id}")) && rule.contains("PARANOIA_LEVEL") && rule.contains("skipAfter")
            });
            assert!(
                is_gate || imported.rules.contains_key(&format!("secrule-{id}")) || named(&id) || is_action,
                "{file}: {id} is neither carried over nor named"
            );
        }
    }
    let share = imported.rules.len() * 100 / imported.seen;
    println!("paranoia level 1: {} of {} rules carried over ({share} %)", imported.rules.len(), imported.seen);
    let every = import(&texts, 4);
    println!("paranoia level 4: {} of {} rules carried over", every.rules.len(), every.seen);
    assert!(every.rules.len() > imported.rules.len());
    assert_eq!(mistakes(work.path(), &every.to_yaml()), Vec::<String>::new());
    assert!(imported.rules.len() > 50, "{}", imported.rules.len());
    assert_eq!(mistakes(work.path(), &imported.to_yaml()), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever a file holds: no panic, and what comes out can be read.
    #[test]
    fn hostile_files_do_no_harm(text in r#"((SecRule|SecAction|SecMarker|ARGS|!ARGS:|/a/|&|@rx|!@pm|@within|@streq|"|'|\\|\\"|\n|\\\n| |,|:|\||id:[0-9]{1,3}|phase:2|deny|block|chain|t:none|t:lowercase|msg:'|setvar:'tx.a_score=\+5'|\(|\)|\[|\]|\{2|\}|\+|\*|\PC|%\{x\}|#){1,3} ?){0,40}"#) {
        let imported = import(&[("a.conf".to_owned(), text)], 1);
        prop_assert!(imported.rules.len() <= imported.seen);
        prop_assert!(imported.to_yaml().contains("payload_rules:"));
    }

    /// A rule with a random expression is carried over as one that `check` takes, or named.
    #[test]
    fn a_rule_is_carried_over_or_named(pattern in r#"[a-c\[\]\(\)\{\}\\^$.*+?|:<>&~ ,0-3\-]{1,12}"#, negated: bool) {
        let rule = format!("SecRule ARGS \"{}@rx {pattern}\" \"id:7,phase:2,deny\"\n", if negated { "!" } else { "" });
        let imported = import(&[("a.conf".to_owned(), rule)], 1);
        prop_assert_eq!(imported.rules.contains_key("secrule-7"), imported.left_out.is_empty());
        if let Some((rule, _)) = imported.rules.get("secrule-7") {
            let document = serde_json::json!({
                "version": 1, "payload_rules": {"a": rule}, "defaults": {"payload": {}}, "rules": [],
            });
            let policy = portcullis_engine::policy::Policy::from_value(&document, &|_| None);
            prop_assert!(policy.is_ok(), "{:?}", policy.err().map(|problems| problems.to_string()));
        }
    }
}
