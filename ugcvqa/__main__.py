"""`ugcvqa VERB ...`: each verb is one module of the same name, also run as `python -m ugcvqa.VERB`."""

import importlib
import sys
from collections.abc import Sequence

from ugcvqa import __version__, cli

VERBS = {
    "fit": "trains a model on a data set, or on the built-in demo set",
    "extract": "computes features of videos into a store",
    "score": "scores videos with a trained model",
    "benchmark": "makes the paper's tables and figures from features and labels",
    "timings": "measures what each row costs on your videos",
    "study": "shows what saliency maps and deep features share, with the paper's figures",
    "doctor": "checks this installation: versions, devices, weights, and known answers",
    "check": "lists missing, extra and unreadable files of a data set",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Calls the verb named by the first argument and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help"}:
        print("usage: ugcvqa VERB [options]; `ugcvqa VERB --help` lists the options\n")
        for verb, purpose in VERBS.items():
            print(f"  {verb:<10} {purpose}")
        return 0
    if arguments[0] in {"-V", "--version"}:
        print(f"ugcvqa {__version__}")
        return 0
    if arguments[0] not in VERBS:
        print(f"ugcvqa: error: no verb {arguments[0]!r}; use one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"ugcvqa.{arguments[0]}")
    if argv is None:
        cli.own_this_process()
    code: int = module.main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
