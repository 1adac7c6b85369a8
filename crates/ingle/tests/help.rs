//! What `--help` says, command by command.

mod support;

use support::run;

#[test]
fn help() {
    let program = run(&["--help"]);
    assert_eq!(program.code, 0);
    insta::assert_snapshot!("ingle", program.out);
    for command in [
        "run", "show", "list", "embed", "tokenize", "template", "bench", "plan", "doctor", "pull",
        "quantize", "serve", "cost", "why", "audit", "ledger",
    ] {
        let done = run(&[command, "--help"]);
        assert_eq!(done.code, 0);
        insta::assert_snapshot!(command, done.out);
    }
}
