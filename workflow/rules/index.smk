# The page that shows all figures and tables.


for index in PLAN.of("index"):

    rule index:
        input:
            gate=index.gate,
            waits=index.waits,
            uses=ancient(index.uses),
        output:
            index.outputs,
        log:
            index.log,
        params:
            budget=PLAN.selection.budget,
        shell:
            "(python -m workflow.index --budget {params.budget}"
            " && python -m workflow.receipts {input.gate}) > {log} 2>&1"
