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

/// What becomes of three rules and what changes them: the rules as JSON, what has no equal, and what was applied.
fn changed(before: &str, after: &str) -> (Imported, Vec<String>, Vec<String>) {
    const RULES: &str = concat!(
        "SecRule ARGS \"@contains a\" \"id:1001,phase:2,deny,msg:'An attack',tag:'attack-sqli',tag:'OWASP_CRS'\"\n",
        "SecRule REQUEST_HEADERS:User-Agent \"@contains b\" \"id:1002,phase:1,deny,tag:'attack-bot'\"\n",
        "SecRule ARGS|!ARGS:p \"@contains c\" \"id:1010,phase:2,deny,chain\"\n",
        "  SecRule REQUEST_COOKIES \"@contains d\" \"tag:'attack-late'\"\n",
    );
    let imported = import(&[("a.conf".to_owned(), format!("{before}\n{RULES}{after}\n"))], 1);
    let list = |of: &[portcullis_cli::secrules::LeftOut]| of.iter().map(|l| l.problem.clone()).collect::<Vec<_>>();
    let (left_out, applied) = (list(&imported.left_out), list(&imported.applied));
    (imported, left_out, applied)
}

#[test]
fn a_rule_that_is_removed_is_gone() {
    let all = ["1001", "1002", "1010"];
    for (directive, gone) in [
        ("SecRuleRemoveById 1002", &["1002"][..]),
        ("SecRuleRemoveById 1001 \"1002\"", &["1001", "1002"]),
        ("SecRuleRemoveById \"1001-1009\"", &["1001", "1002"]),
        ("SecRuleRemoveById 1001-1001,1010", &["1001", "1010"]),
        ("secruleremovebyid 1-9999", &all),
        ("SecRuleRemoveByTag attack-sqli", &["1001"]),
        ("SecRuleRemoveByTag \"attack-(sqli|bot)\"", &["1001", "1002"]),
        ("SecRuleRemoveByTag \"^attack\"", &all),
        // It is of a rule within a chain, and cannot be read as an expression: all that have a tag.
        ("SecRuleRemoveByTag attack-late", &["1010"]),
        ("SecRuleRemoveByTag \"(?=attack)\"", &all),
        ("SecRuleRemoveByMsg \"An attack\"", &["1001"]),
        ("SecRuleRemoveByMsg \"^An a\"", &["1001"]),
        ("SecAction \"id:1,phase:2,pass,ctl:ruleRemoveById=1001\"", &["1001"]),
        // For these there is no equal: the rule would look further, or refuse where it did not.
        ("SecRuleUpdateTargetById 1001 \"ARGS:q\" \"ARGS\"", &["1001"]),
        ("SecRuleUpdateTargetById 1001 \"!ARGS:/^[ab]$/\"", &["1001"]),
        ("SecRuleUpdateActionById 1002 \"pass,nolog\"", &["1002"]),
        ("SecRuleUpdateActionById 1002 \"deny,t:lowercase\"", &["1002"]),
    ] {
        let is_action = directive.starts_with("SecAction");
        for stands_before in [true, false] {
            let (before, after) = if stands_before { (directive, "") } else { ("", directive) };
            // An action works on what is asked after it.
            let gone = if is_action && !stands_before { &["none"][..] } else { gone };
            let (imported, left_out, applied) = changed(before, after);
            for id in all {
                let is_there = imported.rules.contains_key(&format!("secrule-{id}"));
                assert_eq!(is_there, !gone.contains(&id), "{directive} before: {stands_before}: {id}");
            }
            // Engines that read it in order would still ask the rules behind it.
            let is_told = left_out.iter().any(|problem| problem.contains("behind it, where ModSecurity 3 heeds it"));
            assert_eq!(is_told, stands_before && !is_action, "{directive}: {left_out:?}");
            assert!(!applied.is_empty() || !left_out.is_empty(), "{directive}");
        }
    }
}

#[test]
fn removals_in_order_have_an_equal() {
    let (_, left_out, applied) = changed("", "SecRuleRemoveById 1001-1002");
    assert_eq!(left_out, Vec::<String>::new());
    assert_eq!(applied, ["secrule-1001, secrule-1002 are removed"]);
    let (imported, left_out, applied) = changed("", "SecRuleRemoveById 7");
    assert_eq!((imported.rules.len(), left_out.len()), (3, 0));
    assert_eq!(applied, ["it is about no rule that is carried over"]);
    // A directive that cannot be read changes nothing, and is named.
    for directive in ["SecRuleRemoveById abc", "SecRuleRemoveById 1-b", "SecRuleUpdateTargetByName 1 \"!ARGS:q\""] {
        let (imported, left_out, _) = changed("", directive);
        assert_eq!(imported.rules.len(), 3, "{directive}");
        assert_eq!(left_out, ["which rules it is about cannot be read: left out"], "{directive}");
    }
}

#[test]
fn values_that_a_rule_may_not_look_at_are_excepted() {
    let excepted = |imported: &Imported, id: &str| rule(imported, &format!("secrule-{id}"))["except_targets"].clone();
    let q = serde_json::json!(["query:q", "form:q", "multipart:q"]);
    for directive in [
        "SecRuleUpdateTargetById 1001 \"!ARGS:q\"",
        "SecRuleUpdateTargetById 1000-1001 !ARGS:q",
        "SecRuleUpdateTargetByTag OWASP_CRS \"!ARGS:q\"",
        "SecRuleUpdateTargetByMsg \"An attack\" \"!ARGS:q\"",
    ] {
        for (before, after) in [(directive, ""), ("", directive)] {
            let (imported, _, applied) = changed(before, after);
            assert_eq!(excepted(&imported, "1001"), q, "{directive}");
            assert_eq!(excepted(&imported, "1002"), Value::Null, "{directive}");
            assert_eq!(applied, ["secrule-1001 is narrowed by query:q, form:q, multipart:q"], "{directive}");
        }
    }
    // All rules of a chain, beside the exceptions that they have; what is added is not looked at.
    let (imported, left_out, _) = changed("", "SecRuleUpdateTargetById 1010 \"!ARGS:p,!REQUEST_COOKIES:s|ARGS_NAMES\"");
    let all = &rule(&imported, "secrule-1010")["all"];
    let both = ["query:p", "form:p", "multipart:p", "cookie:s"];
    assert_eq!(all[0]["except_targets"], serde_json::json!(both));
    assert_eq!(all[1]["except_targets"], serde_json::json!(both));
    assert!(!all[0]["targets"].to_string().contains("names"), "{all}");
    assert_eq!(left_out.len(), 1);
    assert!(left_out[0].contains("secrule-1010 is carried over without those that are added"), "{left_out:?}");
    // An update that makes no rule refuse less.
    let (imported, left_out, _) = changed("", "SecRuleUpdateActionById 1001 \"block,status:406\"");
    assert!(imported.rules.contains_key("secrule-1001") && left_out[0].contains("carried over without it"));
}

#[test]
fn a_rule_that_another_lifts_for_some_requests_is_named() {
    let lift = |phase: u8, ctl: &str| {
        format!("SecRule REQUEST_FILENAME \"@streq /a\" \"id:7,phase:{phase},pass,nolog,ctl:{ctl}\"")
    };
    for (before, after, named) in [
        (lift(1, "ruleRemoveById=1001"), String::new(), "secrule-1001 is"),
        (lift(2, "ruleRemoveById=1001-1005"), String::new(), "secrule-1001 is"),
        (lift(1, "ruleRemoveById=1001-1005"), String::new(), "secrule-1001, secrule-1002 are"),
        (lift(1, "ruleRemoveTargetById=1001;ARGS:q"), String::new(), "secrule-1001 is"),
        (lift(1, "ruleRemoveByTag=attack"), String::new(), "secrule-1001, secrule-1002, secrule-1010 are"),
        // A later phase is asked after an earlier one, wherever it stands.
        (String::new(), lift(1, "ruleRemoveById=1001-1005"), "secrule-1001 is"),
    ] {
        let (imported, left_out, _) = changed(&before, &after);
        assert_eq!(imported.rules.len(), 3);
        let says = format!("{named} asked as ever: this would change it for some requests");
        assert!(left_out.contains(&says), "{before}{after}: {left_out:?}");
        assert!(left_out.iter().any(|problem| problem.starts_with("the action ctl:rule")), "{left_out:?}");
    }
    // One that comes too late lifts nothing.
    let (_, left_out, applied) = changed("", &lift(2, "ruleRemoveById=1001"));
    assert!(!left_out.iter().any(|problem| problem.contains("asked as ever")), "{left_out:?}");
    assert_eq!(applied, ["it is about no rule that is carried over"]);
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
    fn hostile_files_do_no_harm(text in r#"((SecRule|SecAction|SecMarker|SecRuleRemoveById|SecRuleRemoveByTag|SecRuleUpdateTargetById|ctl:ruleRemoveById=|ARGS|!ARGS:|/a/|&|@rx|!@pm|@within|@streq|"|'|\\|\\"|\n|\\\n| |,|:|\||id:[0-9]{1,3}|phase:2|deny|block|chain|t:none|t:lowercase|msg:'|setvar:'tx.a_score=\+5'|\(|\)|\[|\]|\{2|\}|\+|\*|\PC|%\{x\}|#){1,3} ?){0,40}"#) {
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
