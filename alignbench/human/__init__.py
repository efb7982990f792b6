"""People's judgement of a run: a blinded form to fill in, and what comes back of it.

    stored answers -> items (+ gold questions) -> form.html and its key
    answers.json + key -> human/labels.jsonl -> results and report, made again

Agreement, screening and win rates are statistics of the labels and live in `results.human`.
"""
