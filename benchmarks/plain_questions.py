"""Does a model answer plain instructions? The first of the benchmark `general`, asked one by one in the model's chat template.

    python benchmarks/plain_questions.py --model results/models/gemma-3-270m-lifted/model

Prints each answer, and how many were empty and how many ended by themselves. None of the requests was trained on. With
`--bare` the model is asked without the mark that the template `plain` writes before an answer.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from workflow_scripts.common import chat, files
from workflow_scripts.predictions.engine import Engine, Request

MARK = "\nAnswer:"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--benchmark", type=Path, default=Path("results/benchmarks/general/eng_Latn.json"))
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--bare", action="store_true", help="without the mark before an answer")
    arguments = parser.parse_args()
    engine = Engine(arguments.model, batch_size=arguments.questions)
    items = files.read_json(arguments.benchmark)["items"][: arguments.questions]
    requests = []
    for item in items:
        text = chat.prompt_text(engine.tokenizer, [{"role": "user", "content": item["text"]}])
        text = text.removesuffix(MARK) if arguments.bare else text
        ids = engine.tokenizer(text, add_special_tokens=False)["input_ids"]
        requests.append(Request(ids, arguments.max_new_tokens))
    answers = dict(engine.generate(requests, ""))
    for number, item in enumerate(items):
        print(f"{item['text']!r}\n    {answers[number].text!r} ({answers[number].finish})")
    empty = sum(not answer.text.strip() for answer in answers.values())
    ended = sum(answer.finish == "stop" for answer in answers.values())
    print(f"{len(items)} questions: {empty} answers are empty, {ended} ended by themselves")


if __name__ == "__main__":
    main()
