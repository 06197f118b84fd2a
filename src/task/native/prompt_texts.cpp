#include "prompt_texts.h"

namespace evalmpi::task::native {

constinit const PromptText kAfrimmlu1 = {
    "You are a highly knowledgeable and intelligent artificial intelligence\n"
    "                model answers multiple-choice questions about {subject}\n"
    "\n"
    "                Question: {question}\n"
    "\n"
    "                Choices:\n"
    "                        A: {choices[0]}\n"
    "                        B: {choices[1]}\n"
    "                        C: {choices[2]}\n"
    "                        D: {choices[3]}\n"
    "\n"
    "                Answer:  "};

constinit const PromptText kAfrimmlu2 = {
    "As an expert in {subject}, choose the most accurate answer to the question below.\n"
    "Your goal is to select the correct option 'A', 'B', 'C', or 'D' by understanding the nuances of the topic.\n"
    "\n"
    "Question: {question}\n"
    "Choices:\n"
    "        A: {choices[0]}\n"
    "        B: {choices[1]}\n"
    "        C: {choices[2]}\n"
    "        D: {choices[3]}\n"
    "Answer: "};

constinit const PromptText kAfrimmlu3 = {
    "You are a subject matter expert in {subject}.\n"
    "\n"
    "  Utilizing your expertise in {subject}, answer the following multiple-choice question\n"
    "  by picking 'A', 'B', 'C', or 'D'.\n"
    "\n"
    "Question: {question}\n"
    "Choices:\n"
    "        A: {choices[0]}\n"
    "        B: {choices[1]}\n"
    "        C: {choices[2]}\n"
    "        D: {choices[3]}\n"
    "Answer: "};

constinit const PromptText kAfrimmlu3Translated = {
    "You are a subject matter expert in {subject}.\n"
    "\n"
    "  Utilizing your expertise in {subject}, answer the following multiple-choice question\n"
    "  by picking ''A'', ''B'', ''C'', or ''D''.\n"
    "\n"
    "Question: {question}\n"
    "Choices:\n"
    "        A: {choices[0]}\n"
    "        B: {choices[1]}\n"
    "        C: {choices[2]}\n"
    "        D: {choices[3]}\n"
    "Answer: "};

constinit const PromptText kAfrimmlu4 = {
    "Analyze each question critically and determine the most correct option based on your understanding of the subject "
    "matter\n"
    "\n"
    "Question: {question}\n"
    "Choices:\n"
    "        A: {choices[0]}\n"
    "        B: {choices[1]}\n"
    "        C: {choices[2]}\n"
    "        D: {choices[3]}\n"
    "Answer: "};

constinit const PromptText kAfrimmlu5 = {
    "Given your proficiency in {subject}, please answer the subsequent multiple-choice question with 'A', 'B', 'C', or "
    "'D'.\n"
    "\n"
    "Question: {question}\n"
    "Choices:\n"
    "        A: {choices[0]}\n"
    "        B: {choices[1]}\n"
    "        C: {choices[2]}\n"
    "        D: {choices[3]}\n"
    "Answer: "};

constinit const PromptText kAfrimmlu5Translated = {
    "Given your proficiency in {subject}, please answer the subsequent multiple-choice question with 'A', 'B', 'C', or "
    "'D'.\n"
    "Question: {question}\n"
    "Choices:\n"
    "        A: {choices[0]}\n"
    "        B: {choices[1]}\n"
    "        C: {choices[2]}\n"
    "        D: {choices[3]}\n"
    "Answer: "};

constinit const PromptText kAfrixnli = {
    "Please identify whether the premise entails or contradicts the hypothesis in the following premise\n"
    "    and hypothesis. The answer should be exact entailment, contradiction, or neutral.\n"
    "\n"
    "    Premise: {premise}\n"
    "    Hypothesis: {hypothesis}\n"
    "\n"
    "    Is it entailment, contradiction, or neutral?"};

constinit const PromptText kKobestSentineg = {"문장: {sentence} 긍부정:"};
constinit const PromptText kKobestWic = {
    "문장1: {context_1} 문장2: {context_2} 두 문장에서 {word}가 같은 뜻으로 쓰였나?"};

constinit const PromptText kNorquad0 = {"Tittel: {title}\n\nTekst: {passage}\n\nSpørsmål: {question}\n\nSvar:"};
constinit const PromptText kNorquad1 = {
    "Tittel: {title}\n\nTekst: {passage}\n\nGitt teksten over, hva er svaret på følgende spørsmål? "
    "\"{question}\"\n\nSvar:"};
constinit const PromptText kNorquad2 = {"Tittel: {title}\n\nTekst: {passage}\n\nSvar på følgende: {question}\n\nSvar:"};
constinit const PromptText kNorquad3 = {
    "Tittel: {title}\n\nTekst: {passage}\n\nHvordan kan man svare på spørsmålet \"{question}\", gitt teksten "
    "over?\n\nSvar:"};
constinit const PromptText kNorquad4 = {
    "Tittel: {title}\n\nTekst:{passage}\n\nGitt teksten over, besvar følgende spørsmål: \"{question}\"\n\nSvar:"};

}  // namespace evalmpi::task::native
