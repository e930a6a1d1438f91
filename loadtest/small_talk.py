"""What a caller asks in a long call: short questions about one thing after another.

There are so many that none is asked again before its first answer has left the prompt (a call's prompt on a small
machine holds about a dozen turns): a small model that finds the same question above copies its answer to it, until
only that is left of the conversation. A call of 200 turns ends with the questions that it began with, so that its
ends can be held against each other.
"""

QUESTIONS = (
    "What colour is the sea?",
    "Why do birds sing?",
    "Where do bears live?",
    "What do cats like to eat?",
    "Tell me about the moon.",
    "How is bread made?",
    "What is a good name for a dog?",
    "Why is the sky blue?",
    "What can I do on a rainy day?",
    "Which is the largest animal?",
    "How do bees make honey?",
    "What is your favourite song?",
    "Tell me about the winter.",
    "Where does the rain come from?",
    "What do horses like?",
    "How far away is the sun?",
    "Why do leaves fall?",
    "What should I cook tonight?",
    "Who builds the houses?",
    "What makes a good friend?",
    "Tell me about old ships.",
    "How do fish breathe?",
    "What is a river?",
    "Why do people dance?",
    "Where can I see snow?",
    "What grows in a garden?",
    "How do I make tea?",
    "Which fruit is yellow?",
    "Tell me about trains.",
    "What do farmers do?",
    "Why is it dark at night?",
    "How do you play chess?",
    "What is inside a clock?",
    "Where do apples grow?",
    "What can I see in a forest?",
    "How do birds find their way?",
)
