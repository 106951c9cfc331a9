"""Agents: a language model that acts, in a loop that somebody bounds.

Read the files in this order; lesson 04_llms/12_agents uses all of them.

``tools``       a function becomes a tool: name, description, JSON schema, checked calls
``calculator``  arithmetic by parsing: a tokenizer and precedence climbing, no ``eval``
``searching``   BM25 over the paragraphs of the course's Wikipedia
``sandbox``     Python in a process of its own, with limits, and what these do not protect
``memory``      notes under a key, and recall by similar words
``toolbox``     the four of them together, as lessons use them
``trace``       what an agent did: data first, then a card that shows each step
``loop``        ReAct: think, act, observe; limits on steps, time and repetition
``copying``     regular expressions for arguments that must be copied from what was read
``decoding``    several texts at once, each under its own token mask
``small_model`` SmolLM2 as the mind of the loop: few examples, constrained calls
``database``    counts of articles in SQLite, behind four locks: nothing but one SELECT
``text_to_sql`` questions to SQL under a grammar made from the tables; execution accuracy
``two_hop``     search, read, search against one search, at the same number of paragraphs
``planning``    plan first, execute then; placeholders carry results forward; a model's plan
``team``        a solver and a checker, and one agent at the same budget
``tasks``       the authored tasks, success, and what went wrong at which step
``dev_tasks``   tasks to try prompts on, so that the authored ones stay a test
``repair``      a code agent's baseline: search over edits until the tests pass; a model's tries
``mcp_server``  the same tools over the Model Context Protocol: stdio and HTTP
``mcp_client``  tools found and called over it, from ordinary (not async) code

Import what you need from the file that owns it.
"""
