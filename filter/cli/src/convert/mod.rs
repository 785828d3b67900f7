//! `portcullis convert`: makes a configuration of what another proxy is configured with.

mod claims;
mod condition;
mod envoy;
mod istio;
mod keys;
mod need;
mod networks;
mod notes;
mod openapi;
mod policy;
mod providers;
mod written;
pub mod yaml;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::document::Language;
use crate::file;
use notes::Notes;
use policy::Plan;
use providers::Providers;
use written::Written;

/// Make a configuration of Envoy's jwt_authn and rbac filters, of Istio's RequestAuthentication and AuthorizationPolicy, or of an OpenAPI document
///
/// A FILE is an Envoy configuration with these filters (a whole bootstrap, a listener, or the `typed_config` of a filter
/// alone), Istio's resources for one workload, several to a file with `---`, or a description of an API (OpenAPI 3.1 or 3.0). The
/// configuration goes to standard output, each rule with the place that it comes from.
///
/// It never lets a request pass that its input would refuse. What has no equal is refused (`allow: nobody`, or a part that
/// allows nothing), said in a comment, and listed on standard error with its line.
///
/// Exit code: 0 everything has an equal, 1 something has none and is refused, 2 a file cannot be read or converted.
///
/// Example: portcullis convert envoy.yaml > filter.yaml && portcullis check filter.yaml
///          portcullis convert --audience orders istio/*.yaml > filter.yaml
///          portcullis convert --audience orders openapi.yaml > filter.yaml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// An Envoy configuration, Istio resources, or an OpenAPI document
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The algorithms of providers whose keys are not in the input, which names none
    #[arg(long, value_delimiter = ',', default_value = "ES256,RS256", value_name = "NAME,...")]
    algorithms: Vec<String>,

    /// The audience of providers for which the input names none: tokens for others are refused
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,

    /// The trust domain of a mesh, for namespaces and service accounts
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: String,

    /// Print the differences as a JSON list on standard error
    #[arg(long)]
    json: bool,
}

/// What the operator has chosen.
#[derive(Debug)]
pub struct Options {
    algorithms: Vec<String>,
    audience: Option<String>,
    trust_domain: String,
}

impl Options {
    /// The audiences of a provider that names none.
    fn audience(&self, what: &str, line: usize, notes: &mut Notes) -> Value {
        match &self.audience {
            Some(audience) => json!([audience]),
            None => {
                let problem = "takes tokens for any audience: here nobody's";
                notes.stricter(line, what, problem, "name it with --audience, or in place of CHANGE-ME");
                json!(["CHANGE-ME"])
            }
        }
    }
}

/// A converted configuration.
#[derive(Debug)]
struct Converted {
    /// The configuration in YAML, with comments.
    text: String,
    /// What is different.
    notes: Notes,
}

/// Carries the command out.
///
/// # Errors
/// The output cannot be written; all else that is wrong exits with 2.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let options = Options {
        algorithms: arguments.algorithms.clone(),
        audience: arguments.audience.clone(),
        trust_domain: arguments.trust_domain.clone(),
    };
    let mut texts = Vec::new();
    let converted = arguments.files.iter().try_for_each(|file| {
        texts.push((file.display().to_string(), file::read(file)?));
        anyhow::Ok(())
    });
    let converted = match converted.and_then(|()| convert(&texts, &options)) {
        Ok(converted) => converted,
        Err(error) => {
            writeln!(std::io::stderr(), "portcullis: {error:#}")?;
            return Ok(ExitCode::from(2));
        }
    };
    std::io::stdout().write_all(converted.text.as_bytes())?;
    let name = if let [(name, _)] = texts.as_slice() { name.as_str() } else { "" };
    let mut err = std::io::stderr().lock();
    if arguments.json {
        let all = converted.notes.0.iter().map(|difference| difference.to_json(name));
        writeln!(err, "{:#}", all.collect::<Value>())?;
    } else {
        for difference in &converted.notes.0 {
            writeln!(err, "{}", difference.to_line(if name.is_empty() { "input" } else { name }))?;
        }
    }
    Ok(if converted.notes.are_stricter() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Converts files with their texts.
fn convert(texts: &[(String, (String, Language))], options: &Options) -> Result<Converted> {
    let (mut providers, mut notes) = (Providers::default(), Notes::default());
    let mut documents = Vec::new();
    for (name, (text, language)) in texts {
        documents.extend(istio::documents(text, *language).with_context(|| name.clone())?);
    }
    if let ([document], [(_, (text, language))]) = (documents.as_slice(), texts)
        && openapi::is_openapi(document)
    {
        // Its YAML has other words than Envoy's: `no` is Norway, not `false`.
        let language = if *language == Language::Yaml { Language::CoreYaml } else { *language };
        let described = istio::documents(text, language)?;
        let document = described.first().unwrap_or(document);
        let text = openapi::convert(document, options, &mut providers, &mut notes)?;
        return Ok(Converted { text, notes });
    }
    let mut plan = if documents.iter().any(istio::is_resource) {
        istio::convert(&documents, options, &mut providers, &mut notes)?
    } else {
        let [document] = documents.as_slice() else { bail!("an Envoy configuration is one document") };
        if !envoy::is_envoy(document) {
            bail!(
                "there is nothing to convert\n  hint: Envoy's filters jwt_authn and rbac, Istio's RequestAuthentication \
                 and AuthorizationPolicy, or an OpenAPI document"
            );
        }
        envoy::convert(document, options, &mut providers, &mut notes)?
    };
    Ok(written(&mut plan, &providers, notes))
}

/// The configuration with all that was found.
fn written(plan: &mut Plan, providers: &Providers, mut notes: Notes) -> Converted {
    let rules = plan.rules(&mut notes);
    let mut sections = Map::new();
    let mut comments = std::collections::BTreeMap::new();
    for (name, provider) in &providers.0 {
        sections.insert(name.clone(), Value::Object(provider.section.clone()));
        comments.insert(name.clone(), provider.comments.clone());
    }
    for (name, allowed) in &plan.certificates {
        sections.insert(name.clone(), json!({"certificate": {"identity": "uri_san", "allow": allowed}}));
        comments
            .insert(name.clone(), vec!["Envoy verifies the certificate: set trusted_ca in the listener.".to_owned()]);
    }
    let mut value = json!({
        "version": 1,
        "providers": sections,
        "defaults": {"unmatched": "deny"},
        "rules": rules.iter().map(|written: &Written| written.rule.clone()).collect::<Vec<_>>(),
    });
    // A rule that another one has left nothing to is not there, nor is its list.
    let is_used = |name: &str| {
        let names = |rule: &Value, side: &str| rule.pointer(side).and_then(Value::as_str) == Some(name);
        rules.iter().any(|written| names(&written.rule, "/addresses/allow") || names(&written.rule, "/addresses/deny"))
    };
    let lists = plan.address_lists.iter().filter(|(name, _)| is_used(name));
    let lists: Map<String, Value> = lists.map(|(name, cidrs)| (name.clone(), json!({"cidrs": cidrs}))).collect();
    if let (false, Some(members)) = (lists.is_empty(), value.as_object_mut()) {
        members.insert("address_lists".to_owned(), Value::Object(lists));
    }
    let text = yaml::text(&value, &comments, &rules, &notes);
    Converted { text, notes }
}
