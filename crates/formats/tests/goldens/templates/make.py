"""Makes the goldens of the chat templates with Jinja2, set up by Hugging Face transformers itself.

    python make.py [FOLDER WITH *.jinja]

Writes public.json (every template of the folder, in the cases of cases.json) and snippets.json (every
snippet of snippets.txt). An entry is {"out": text}, or {"raises": name of the exception}.
Made with jinja2 3.1.6 and transformers 5.23.0.
"""
import datetime
import json
import pathlib
import sys

import transformers.utils.chat_template_utils as chat_template_utils

HERE = pathlib.Path(__file__).parent
SHARED = HERE.parents[3] / ".." / ".." / "shared" / "data" / "templates"


class Fixed(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 11, 21, 2, 5, 9)


chat_template_utils.datetime = Fixed


def render(source, context):
    try:
        template = chat_template_utils._compile_jinja_template(source)
        return {"out": template.render(**context)}
    except Exception as error:
        return {"raises": type(error).__name__}


def write(name, value):
    text = json.dumps(value, ensure_ascii=False, indent=0, sort_keys=False)
    (HERE / name).write_text(text + "\n", encoding="utf-8")


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED
    cases = json.loads((HERE / "cases.json").read_text(encoding="utf-8"))
    public = {}
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        public[path.name] = {name: render(source, context) for name, context in cases.items()}
    write("public.json", public)

    text = (HERE / "snippets.txt").read_text(encoding="utf-8")
    context = cases["tools_called"]
    sources = [source for source in text.split("\n====\n") if source]
    write("snippets.json", [{"source": source, **render(source, context)} for source in sources])


if __name__ == "__main__":
    main()
