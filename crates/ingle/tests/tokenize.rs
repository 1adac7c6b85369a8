//! `ingle tokenize` on public vocabularies. All their vectors are tested in `formats`.

mod support;

use support::{repository, run, run_with, shared};

const VOCABULARIES: [&str; 7] = [
    "bert-bge",
    "deepseek-coder",
    "gpt-2",
    "llama-spm",
    "phi-3",
    "qwen2",
    "starcoder",
];

#[test]
fn some_vectors_of_each_match() {
    for name in VOCABULARIES {
        let Some(file) = shared(&format!("tokenizers/ggml-vocab-{name}.gguf")) else {
            return;
        };
        let file = file.to_str().unwrap();
        let texts = std::fs::read_to_string(format!("{file}.inp")).unwrap();
        let ids = std::fs::read_to_string(format!("{file}.out")).unwrap();
        let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
        let ids: Vec<&str> = ids.split('\n').collect();
        assert_eq!(texts.len(), ids.len());
        for (text, ids) in texts.into_iter().zip(ids).step_by(9) {
            let done = run_with(
                &["tokenize", file, "--json", "--no-special"],
                text.as_bytes(),
            );
            let ids: Vec<&str> = ids.split_whitespace().collect();
            assert_eq!(
                done.out,
                format!("{{\"ids\":[{}]}}\n", ids.join(",")),
                "{name}: {text:?}"
            );
            assert_eq!((done.code, done.err.as_str()), (0, ""));
        }
    }
}

#[test]
fn an_argument_is_a_text_too_and_people_get_a_table() {
    let Some(file) = shared("models/stories260K/stories260K.gguf") else {
        return;
    };
    let done = run(&["tokenize", file.to_str().unwrap(), "Once upon a time"]);
    insta::assert_snapshot!(done.out);
    let json = run(&[
        "tokenize",
        file.to_str().unwrap(),
        "Once upon a time",
        "--json",
    ]);
    assert_eq!(json.out, "{\"ids\":[1,403,407,261,378]}\n");
}

#[test]
fn what_is_no_text_is_refused() {
    let model = repository("models/ingle-mini/ingle-mini.gguf");
    let done = run_with(&["tokenize", &model], b"a\xff");
    assert_eq!(done.code, 2);
    insta::assert_snapshot!(done.err);
}
