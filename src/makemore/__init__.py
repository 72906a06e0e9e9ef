"""makemore: train neural probabilistic language models on names, look at what they learned, make new ones.

Read the modules in this order; imports only point up the list.

    errors, schemas, config         what may be typed, and how mistakes are answered
    randomness                      where chance comes from
    corpus, vocabulary, windows     a text file -> documents -> ids -> examples
    mlp, compiled, graphs           the network's mathematics; as machine code, and as one recording for a GPU
    bigram, ngram, mixture          the other models' mathematics
    checkpoint, sampling            a trained model on disk, and new names from it; without Lightning
    datamodule, schedule            the same for Lightning: data, learning rates,
    module, models                  and what trains: in general, and each model
    context_table                   what the table of counts would be for every length of context
    lr_range, plots                 what a learning-rate search says; all figures
    callbacks, diagnostics          what a person looks at while a model trains and afterwards
    execution, members, training    what a run computes with, what a mixture is made of; one run, start to finish
    folder, job, pool, command      many runs: on disk, one of them, several at once, what was asked for
    table, figures, report          what they say together
    run_folder, cli                 where a run writes, and how the two scripts speak to a person
"""
