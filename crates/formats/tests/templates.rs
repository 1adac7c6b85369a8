//! Chat templates beside Jinja2: what it printed, or that it refused, is in `goldens/templates`,
//! with the script that asked it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]
use std::path::PathBuf;

use ingle_formats::template::{Bound, Chat, ChatTemplate, LocalTime, TemplateError};
use serde_json::Value;

const NOW: LocalTime = LocalTime {
    year: 2026,
    month: 11,
    day: 21,
    hour: 2,
    minute: 5,
    second: 9,
};

fn golden(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens/templates")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A case of `cases.json` as a conversation.
fn chat(case: &Value) -> Chat {
    let mut variables = case.as_object().unwrap().clone();
    let mut list = |name: &str| {
        variables
            .shift_remove(name)
            .and_then(|v| v.as_array().cloned())
    };
    let (messages, tools, documents) =
        (list("messages").unwrap(), list("tools"), list("documents"));
    let add_generation_prompt =
        variables.shift_remove("add_generation_prompt") == Some(true.into());
    Chat {
        messages,
        tools,
        documents,
        add_generation_prompt,
        variables,
    }
}

fn render(source: &str, case: &Value) -> Result<String, TemplateError> {
    ChatTemplate::new(source)?.render(&chat(case), NOW)
}

/// What differs from the golden, if anything does.
fn difference(found: &Result<String, TemplateError>, golden: &Value) -> Option<String> {
    let wanted = golden.get("out").and_then(Value::as_str);
    match (found, wanted) {
        (Ok(found), Some(wanted)) if found == wanted => None,
        (Err(TemplateError::Limit { .. }), _) => Some(format!("{found:?}")),
        (Err(_), None) => None,
        (Ok(found), Some(wanted)) => Some(format!("\n found {found:?}\nwanted {wanted:?}")),
        _ => Some(format!("\n found {found:?}\nwanted {golden}")),
    }
}

#[test]
fn snippets_print_what_jinja2_prints() {
    let cases = golden("cases.json");
    let case = &cases["tools_called"];
    let mut wrong = Vec::new();
    let snippets = golden("snippets.json");
    for snippet in snippets.as_array().unwrap() {
        let source = snippet["source"].as_str().unwrap();
        if let Some(difference) = difference(&render(source, case), snippet) {
            wrong.push(format!("{source}{difference}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

#[test]
fn public_templates_print_what_jinja2_prints() {
    let shared = std::env::var("INGLE_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let folder = shared.join("data/templates");
    let (cases, public) = (golden("cases.json"), golden("public.json"));
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (name, goldens) in public.as_object().unwrap() {
        let Ok(source) = std::fs::read_to_string(folder.join(name)) else {
            println!("skipped: {name} is not in {}", folder.display());
            continue;
        };
        for (case, golden) in goldens.as_object().unwrap() {
            checked += 1;
            if let Some(difference) = difference(&render(&source, &cases[case]), golden) {
                wrong.push(format!("{name}, {case}{difference}"));
            }
        }
    }
    println!("{checked} prompts checked");
    assert!(
        wrong.is_empty(),
        "{} of {checked} wrong:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

fn limit_of(source: &str) -> Bound {
    let template = ChatTemplate::new(source);
    match template.and_then(|template| template.render(&Chat::default(), NOW)) {
        Err(TemplateError::Limit { of, .. }) => of,
        other => panic!("{source} was not stopped: {:?}", other.map(|out| out.len())),
    }
}

/// The published fault: a template of 116 bytes that kept a CPU busy for a minute.
#[test]
fn a_116_byte_template_cannot_burn_cpu() {
    let source = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}\
                  {% endfor %}{% endfor %}{% endfor %}";
    assert!(source.len() <= 120);
    assert_eq!(limit_of(source), Bound::Fuel);
}

#[test]
fn a_string_cannot_be_repeated_without_bound() {
    assert_eq!(limit_of("{{ 'x' * 1000000000 }}"), Bound::Memory);
    assert_eq!(
        limit_of("{{ 'x' * 99999999999999999999999999 }}"),
        Bound::Memory
    );
    assert_eq!(limit_of("{{ [[]] * 1000000000 }}"), Bound::Memory);
    assert_eq!(limit_of("{{ '%999999999d' % 1 }}"), Bound::Memory);
    assert_eq!(limit_of("{{ '%.999999999d' % 1 }}"), Bound::Memory);
    assert_eq!(limit_of("{{ '{:999999999}'.format(1) }}"), Bound::Memory);
    assert_eq!(limit_of("{{ 'x'.ljust(999999999) }}"), Bound::Memory);
    assert_eq!(limit_of("{{ 'x'.center(999999999) }}"), Bound::Memory);
    assert_eq!(limit_of("{{ '\\t'.expandtabs(999999999) }}"), Bound::Memory);
    assert_eq!(limit_of("{{ 'a\\nb'|indent(999999999) }}"), Bound::Memory);
    assert_eq!(
        limit_of("{{ [1]|tojson(indent=999999999) }}"),
        Bound::Memory
    );
    assert_eq!(
        limit_of("{{ [1]|batch(999999999, 'x')|list }}"),
        Bound::Memory
    );
    assert_eq!(limit_of("{{ [1]|slice(999999999)|list }}"), Bound::Memory);
}

#[test]
fn a_string_cannot_be_doubled_without_bound() {
    let doubled = |by: &str| {
        format!(
            "{{% set ns = namespace(x='aaaaaaaa', l=[1]) %}}{{% for i in range(99) %}}{by}{{% endfor %}}"
        )
    };
    for by in [
        "{% set ns.x = ns.x ~ ns.x %}",
        "{% set ns.x = ns.x + ns.x %}",
        "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}",
        "{% set ns.x = [ns.x, ns.x]|join %}",
        "{% set ns.x = ns.x.join([ns.x, ns.x, ns.x]) %}",
        "{% set ns.x = ns.x.replace('a', 'aa') %}",
        "{% set ns.x = '%s%s' % (ns.x, ns.x) %}",
        "{% set ns.x = '{0}{0}'.format(ns.x) %}",
        "{% set ns.x = ns.x|tojson|tojson|tojson %}",
        "{% set ns.l = ns.l + ns.l %}",
    ] {
        // Long strings cost steps too, and what a block prints counts as output.
        let bound = limit_of(&doubled(by));
        assert_ne!(bound, Bound::Depth, "{by}");
    }
}

#[test]
fn output_is_bounded() {
    let source = "{% for i in range(99999) %}................................................\
                  ................................................{% endfor %}";
    assert_eq!(limit_of(source), Bound::Output);
}

#[test]
fn macros_cannot_call_themselves_without_end() {
    assert_eq!(
        limit_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
        Bound::Depth
    );
    let mutual = "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{% if 1 %}{{ f() }}{% endif %}\
                  {% endmacro %}{{ f() }}";
    assert_eq!(limit_of(mutual), Bound::Depth);
    let own_caller = "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{{ caller() }}\
                      {% endmacro %}{% call f() %}{% endcall %}";
    assert_eq!(limit_of(own_caller), Bound::Depth);
    let by_loop = "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}";
    assert_eq!(limit_of(by_loop), Bound::Depth);
}

#[test]
fn a_macro_cannot_call_itself_twice_for_ever() {
    let source =
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(30) }}";
    assert_eq!(limit_of(source), Bound::Fuel);
}

#[test]
fn source_cannot_nest_without_bound() {
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("[", "", "]"),
        ("{1:", "1", "}"),
        ("-", "1", ""),
        ("not ", "1", ""),
        ("f(", "", ")"),
        ("a[", "1", "]"),
        ("1 if 1 else ", "1", ""),
        ("x|d(", "1", ")"),
        ("x is in ", "1", ""),
    ] {
        let source = format!(
            "{{{{ {}{middle}{} }}}}",
            open.repeat(5000),
            close.repeat(5000)
        );
        let error = ChatTemplate::new(&source).map(|_| ()).unwrap_err();
        let named = matches!(
            error,
            TemplateError::Limit {
                of: Bound::Depth,
                ..
            } | TemplateError::Syntax { .. }
        );
        assert!(named, "{open}: {error}");
    }
    let blocks = "{% if 1 %}".repeat(5000) + &"{% endif %}".repeat(5000);
    assert!(matches!(
        ChatTemplate::new(&blocks),
        Err(TemplateError::Limit {
            of: Bound::Depth,
            ..
        })
    ));
    let chain = format!("{{{{ a{} }}}}", ".a".repeat(5000));
    assert!(ChatTemplate::new(&chain).is_err());
    let filters = format!("{{{{ a{} }}}}", "|d".repeat(5000));
    assert!(ChatTemplate::new(&filters).is_err());
}

#[test]
fn values_cannot_nest_without_bound() {
    let nested = |by: &str| {
        format!("{{% set ns = namespace(x=1) %}}{{% for i in range(9999) %}}{by}{{% endfor %}}done")
    };
    for by in [
        "{% set ns.x = [ns.x] %}",
        "{% set ns.x = (ns.x,) %}",
        "{% set ns.x = {'a': ns.x} %}",
        "{% set ns.x = [ns.x]|map('d') %}",
        "{% for y in [ns.x] %}{% set ns.x = loop %}{% endfor %}",
    ] {
        assert_eq!(limit_of(&nested(by)), Bound::Depth, "{by}");
    }
    // Namespaces may hold one another, in circles too; they are taken apart at the end.
    for by in [
        "{% set ns.x = namespace(x=ns.x) %}",
        "{% set ns.x = ns %}",
        "{% macro f() %}{% endmacro %}{% set ns.x = f %}",
    ] {
        let out = ChatTemplate::new(&nested(by))
            .unwrap()
            .render(&Chat::default(), NOW);
        assert_eq!(out.unwrap(), "done", "{by}");
    }
    assert_eq!(
        limit_of("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}"),
        Bound::Depth
    );
}

#[test]
fn nothing_is_loaded() {
    for source in [
        "{% include 'a' %}",
        "{% import 'a' as b %}",
        "{% extends 'a' %}",
    ] {
        let template = ChatTemplate::new(source).unwrap();
        let error = template.render(&Chat::default(), NOW).unwrap_err();
        assert!(matches!(error, TemplateError::Failed { .. }), "{error}");
    }
}

#[test]
fn a_source_has_a_greatest_length() {
    let error = ChatTemplate::new(&" ".repeat(2 << 20)).unwrap_err();
    assert!(matches!(
        error,
        TemplateError::Limit {
            of: Bound::Source,
            ..
        }
    ));
}

/// The work of one step is bounded too: long strings cannot be gone through millions of times.
#[test]
fn long_strings_cost_fuel() {
    for by in [
        "x.count('b')",
        "'b' in x",
        "x == y",
        "x|length",
        "x.strip('ab')",
        "x|int",
        "x[5]",
    ] {
        let source = format!(
            "{{% set x = 'a' * 4000000 %}}{{% set y = 'a' * 4000000 %}}\
             {{% for i in range(99999) %}}{{% set z = {by} %}}{{% endfor %}}"
        );
        let bound = limit_of(&source);
        assert!(matches!(bound, Bound::Fuel | Bound::Memory), "{by}");
    }
}

#[test]
fn the_deepest_allowed_template_fits_a_small_stack() {
    let source = "{% macro f(n) %}{% for i in [1] %}{% if 1 %}{{ (((f(n))))|upper|trim }}{% endif %}\
                  {% endfor %}{% endmacro %}{{ f(1) }}";
    let run = move || limit_of(source);
    let thread = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(run)
        .unwrap();
    assert_eq!(thread.join().unwrap(), Bound::Depth);
}

#[test]
fn messages_say_what_to_do() {
    let render = |source: &str| {
        let template = ChatTemplate::new(source);
        template
            .and_then(|template| template.render(&Chat::default(), NOW))
            .unwrap_err()
            .to_string()
    };
    let all = [
        "\n{% if %}",
        "{{ raise_exception('Only users may speak.') }}",
        "\n\n{{ a.b }}",
        "{{ 'x' * 999999999 }}",
    ]
    .map(render)
    .join("\n");
    insta::assert_snapshot!(all, @"
    the chat template cannot be read, line 2: expected a value, found `%}`; use another template
    the chat template refuses this conversation: Only users may speak.
    the chat template failed, line 3: a is undefined; change the messages or use another template
    the chat template was stopped, line 1: it passed its bound of 67112256 bytes of memory; use another template
    ");
}
