"""Chapter 1 – Text: preprocessing, sentences, subword tokenizers, features and embeddings."""
