#pragma once

// The functions that table.cpp names. native_functions.h says how each kind is called.

#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/task/metric.h"
#include "native_functions.h"

namespace evalmpi::task::native {

using Columns = std::vector<std::string>;
using Rows = std::vector<Json>;
using Responses = std::vector<Json>;

// process_docs
void arabic_boolq_process_docs(Columns& columns, Rows& rows);
void arabic_copa_process_docs(Columns& columns, Rows& rows);
void arabic_exams_process_docs(Columns& columns, Rows& rows);
void arabic_hellaswag_process_docs(Columns& columns, Rows& rows);
void arabic_letters_process_docs(Columns& columns, Rows& rows);
void arabic_numbers_process_docs(Columns& columns, Rows& rows);
void arabic_sciq_process_docs(Columns& columns, Rows& rows);
void arabic_toxigen_process_docs(Columns& columns, Rows& rows);
void arabic_true_false_process_docs(Columns& columns, Rows& rows);
void aradice_boolq_process_docs(Columns& columns, Rows& rows);
void aradice_cultural_process_docs(Columns& columns, Rows& rows);
void aradice_egyptian_process_docs(Columns& columns, Rows& rows);
void aradice_english_boolq_process_docs(Columns& columns, Rows& rows);
void aradice_levantine_process_docs(Columns& columns, Rows& rows);
void arithmetic_process_docs(Columns& columns, Rows& rows);
void basque_paws_process_docs(Columns& columns, Rows& rows);
void bbq_process_docs(Columns& columns, Rows& rows);
void bbq_process_docs_ambig(Columns& columns, Rows& rows);
void bbq_process_docs_disambig(Columns& columns, Rows& rows);
void bigbench_filter_multiple_choice(Columns& columns, Rows& rows);
void csatqa_process_docs(Columns& columns, Rows& rows);
void drop_process_docs(Columns& columns, Rows& rows);
void eus_exams_process_docs(Columns& columns, Rows& rows);
void galician_paraphrases_process_docs(Columns& columns, Rows& rows);
void galician_premises_process_docs(Columns& columns, Rows& rows);
void gpqa_generative_process_docs(Columns& columns, Rows& rows);
void gpqa_process_docs(Columns& columns, Rows& rows);
void groundcocoa_process_docs(Columns& columns, Rows& rows);
void hellaswag_process_docs(Columns& columns, Rows& rows);
void hendrycks_math_process_docs(Columns& columns, Rows& rows);
void iberian_copa_process_docs(Columns& columns, Rows& rows);
void japanese_xwinograd_process_docs(Columns& columns, Rows& rows);
void jcommonsenseqa_process_docs(Columns& columns, Rows& rows);
void kobest_hellaswag_process_docs(Columns& columns, Rows& rows);
void leaderboard_gpqa_process_docs(Columns& columns, Rows& rows);
void llama3_arc_process_docs(Columns& columns, Rows& rows);
void metabench_arc(Columns& columns, Rows& rows);
void metabench_arc_permuted(Columns& columns, Rows& rows);
void metabench_gsm8k(Columns& columns, Rows& rows);
void metabench_hellaswag(Columns& columns, Rows& rows);
void metabench_hellaswag_permuted(Columns& columns, Rows& rows);
void metabench_mmlu(Columns& columns, Rows& rows);
void metabench_mmlu_permuted(Columns& columns, Rows& rows);
void metabench_truthfulqa(Columns& columns, Rows& rows);
void metabench_truthfulqa_permuted(Columns& columns, Rows& rows);
void metabench_winogrande(Columns& columns, Rows& rows);
void metabench_winogrande_permuted(Columns& columns, Rows& rows);
void mlqa_process_docs(Columns& columns, Rows& rows);
void mmlusr_process_docs(Columns& columns, Rows& rows);
void moral_stories_process_docs(Columns& columns, Rows& rows);
void mutual_process_docs(Columns& columns, Rows& rows);
void noropenbookqa_filter(Columns& columns, Rows& rows);
void norquad_process_docs(Columns& columns, Rows& rows);
void nortruthfulqa_process_docs(Columns& columns, Rows& rows);
void okapi_arc_process_docs(Columns& columns, Rows& rows);
void okapi_truthfulqa_process_docs(Columns& columns, Rows& rows);
void paraphrases_process_docs(Columns& columns, Rows& rows);
void physics_gre_process_docs(Columns& columns, Rows& rows);
void plain_hellaswag_process_docs(Columns& columns, Rows& rows);
void premises_process_docs(Columns& columns, Rows& rows);
void record_process_docs(Columns& columns, Rows& rows);
void tmlu_process_docs(Columns& columns, Rows& rows);
void tmmluplus_process_docs(Columns& columns, Rows& rows);
void truthfulqa_galician_process_docs_gen(Columns& columns, Rows& rows);
void truthfulqa_multi_process_docs_gen(Columns& columns, Rows& rows);
void truthfulqa_process_docs_gen(Columns& columns, Rows& rows);
void wsc273_process_doc(Columns& columns, Rows& rows);

// process_docs by the function's name
void click_extract(Columns& columns, Rows& rows, std::string_view path);
void crows_pairs_filter(Columns& columns, Rows& rows, std::string_view path);
void glianorex_filter(Columns& columns, Rows& rows, std::string_view path);
void keep_category(Columns& columns, Rows& rows, std::string_view path);
void keep_domain(Columns& columns, Rows& rows, std::string_view path);
void keep_filtered_category(Columns& columns, Rows& rows, std::string_view path);
void keep_filtered_gender(Columns& columns, Rows& rows, std::string_view path);
void keep_indic_subject(Columns& columns, Rows& rows, std::string_view path);
void keep_mmmlu_subject(Columns& columns, Rows& rows, std::string_view path);
void keep_subject(Columns& columns, Rows& rows, std::string_view path);
void keep_subject_category(Columns& columns, Rows& rows, std::string_view path);
void keep_subtask(Columns& columns, Rows& rows, std::string_view path);
void noridiom_filter(Columns& columns, Rows& rows, std::string_view path);
void score_options_process_docs(Columns& columns, Rows& rows, std::string_view path);
void score_prompts_process_docs(Columns& columns, Rows& rows, std::string_view path);
void score_sampled_process_docs(Columns& columns, Rows& rows, std::string_view path);
void tydiqa_process_docs(Columns& columns, Rows& rows, std::string_view path);

// Fields of a document
Json afrixnli_consistency(const Json& document);
Json afrixnli_relation(const Json& document);
Json afrixnli_truth(const Json& document);
Json arab_culture_completion_doc_to_choice(const Json& document);
Json arab_culture_completion_doc_to_target(const Json& document);
Json arab_culture_completion_doc_to_text(const Json& document);
Json arab_culture_doc_to_choice(const Json& document);
Json arab_culture_doc_to_target(const Json& document);
Json arab_culture_doc_to_text(const Json& document);
Json arabicmmlu_doc_to_choice(const Json& document);
Json arabicmmlu_doc_to_text(const Json& document);
Json aradice_openbookqa_doc_to_choice(const Json& document);
Json aradice_openbookqa_doc_to_target(const Json& document);
Json aradice_openbookqa_doc_to_text(const Json& document);
Json basque_copa_doc_to_text(const Json& document);
Json bbq_doc_to_choice(const Json& document);
Json bbq_doc_to_target(const Json& document);
Json c4_detokenizer(const Json& document);
Json choices_literal(const Json& document);
Json click_doc_to_choice(const Json& document);
Json click_doc_to_target(const Json& document);
Json click_doc_to_text(const Json& document);
Json contains_doc_to_target(const Json& document);
Json contains_doc_to_text(const Json& document);
Json copa_doc_to_choice(const Json& document);
Json copa_doc_to_target(const Json& document);
Json copa_doc_to_text(const Json& document);
Json coqa_doc_to_target(const Json& document);
Json coqa_doc_to_text(const Json& document);
Json crows_pairs_doc_to_choice(const Json& document);
Json darija_sentiment_doc_to_target(const Json& document);
Json darija_sentiment_doc_to_text(const Json& document);
Json darijammlu_doc_to_text(const Json& document);
Json egymmlu_doc_to_text(const Json& document);
Json eus_doc_to_choice(const Json& document);
Json eus_reading_doc_to_text(const Json& document);
Json eus_trivia_doc_to_text(const Json& document);
Json evalita_entities_doc_to_target(const Json& document);
Json evalita_feeling_doc_to_choice(const Json& document);
Json evalita_feeling_doc_to_target(const Json& document);
Json evalita_questions_doc_to_target(const Json& document);
Json evalita_relations_doc_to_target(const Json& document);
Json evalita_words_doc_to_target(const Json& document);
Json french_wikitext_detokenizer(const Json& document);
Json glianorex_doc_to_target(const Json& document);
Json glianorex_doc_to_text(const Json& document);
Json greekmmlu_doc_to_choice(const Json& document);
Json greekmmlu_doc_to_text(const Json& document);
Json hrm8k_doc_to_target(const Json& document);
Json hrm8k_doc_to_text(const Json& document);
Json hrm8k_doc_to_text_mmmlu(const Json& document);
Json hrm8k_english_doc_to_text(const Json& document);
Json hrm8k_english_doc_to_text_mmmlu(const Json& document);
Json icelandic_winogrande_doc_to_target(const Json& document);
Json indicparam_doc_to_choice(const Json& document);
Json indicparam_doc_to_target(const Json& document);
Json indicparam_doc_to_text(const Json& document);
Json indonesian_copa_doc_to_text(const Json& document);
Json infinitebench_choice_text(const Json& document);
Json infinitebench_code_debug_text(const Json& document);
Json infinitebench_code_run_text(const Json& document);
Json infinitebench_dialogue_text(const Json& document);
Json infinitebench_math_text(const Json& document);
Json kobest_copa_doc_to_choice(const Json& document);
Json kobest_copa_doc_to_target(const Json& document);
Json kobest_copa_doc_to_text(const Json& document);
Json latin_letters_doc_to_choice(const Json& document);
Json leaderboard_mmlu_pro_doc_to_choice(const Json& document);
Json leaderboard_mmlu_pro_doc_to_text(const Json& document);
Json llama3_mmlu_pro_fewshot_to_text(const Json& document);
Json logiqa2_doc_to_text(const Json& document);
Json logiqa_doc_to_target(const Json& document);
Json logiqa_doc_to_text(const Json& document);
Json mafand_prompt_1(const Json& document);
Json mafand_reverse_prompt_1(const Json& document);
Json mafand_reverse_prompt_3(const Json& document);
Json mafand_target(const Json& document);
Json mafand_target_reverse(const Json& document);
Json mathqa_doc_to_choice(const Json& document);
Json medmcqa_doc_to_text(const Json& document);
Json medqa_doc_to_target(const Json& document);
Json medqa_doc_to_text(const Json& document);
Json mmlu_pro_doc_to_text(const Json& document);
Json mmlu_pro_fewshot_to_target(const Json& document);
Json mmlu_pro_plus_doc_to_text(const Json& document);
Json mnli_doc_to_text(const Json& document);
Json musr_doc_to_text(const Json& document);
Json paloma_doc_to_target(const Json& document);
Json pubmedqa_doc_to_text(const Json& document);
Json race_doc_to_choice(const Json& document);
Json race_doc_to_target(const Json& document);
Json race_doc_to_text(const Json& document);
Json record_doc_to_choice(const Json& document);
Json record_doc_to_target(const Json& document);
Json record_doc_to_text(const Json& document);
Json score_doc_to_text(const Json& document);
Json squad2_doc_to_target(const Json& document);
Json three_letters_doc_to_choice(const Json& document);
Json toxigen_doc_to_target(const Json& document);
Json two_letters_doc_to_choice(const Json& document);
Json webqs_doc_to_choice(const Json& document);
Json webqs_doc_to_target(const Json& document);
Json wikitext_detokenizer(const Json& document);
Json winogrande_doc_to_choice(const Json& document);
Json winogrande_doc_to_target(const Json& document);
Json winogrande_doc_to_text(const Json& document);
Json wsc_doc_to_text(const Json& document);
Json xcopa_doc_to_choice(const Json& document);

// Fields by the function's name or folder
Json mmlu_prox_doc_to_text(const Json& document, std::string_view path);
Json mmlu_prox_fewshot_to_text(const Json& document, std::string_view path);
Json norwegian_quiz_prompt(const Json& document, std::string_view path);
Json xcopa_doc_to_text(const Json& document, std::string_view path);

// process_results
MetricValues agieval_process_results(const Json& document, const Responses& responses);
MetricValues agieval_process_results_mcqa(const Json& document, const Responses& responses);
MetricValues aime_process_results(const Json& document, const Responses& responses);
MetricValues babilong_process_results(const Json& document, const Responses& responses);
MetricValues bbq_results_of_choice(const Json& document, const Responses& responses);
MetricValues bbq_results_of_text(const Json& document, const Responses& responses);
MetricValues c4_process_results(const Json& document, const Responses& responses);
MetricValues catalanqa_process_results(const Json& document, const Responses& responses);
MetricValues contains_process_results(const Json& document, const Responses& responses);
MetricValues coqa_process_results(const Json& document, const Responses& responses);
MetricValues coqcat_process_results(const Json& document, const Responses& responses);
MetricValues crows_pairs_process_results(const Json& document, const Responses& responses);
MetricValues drop_process_results(const Json& document, const Responses& responses);
MetricValues eq_bench_process_results(const Json& document, const Responses& responses);
MetricValues evalita_entities_results(const Json& document, const Responses& responses);
MetricValues evalita_relations_results(const Json& document, const Responses& responses);
MetricValues evalita_words_results(const Json& document, const Responses& responses);
MetricValues french_wikitext_process_results(const Json& document, const Responses& responses);
MetricValues hendrycks_math_process_results(const Json& document, const Responses& responses);
MetricValues hrm8k_process_results(const Json& document, const Responses& responses);
MetricValues ifeval_process_results(const Json& document, const Responses& responses);
MetricValues infinitebench_results(const Json& document, const Responses& responses);
MetricValues infinitebench_results_choice(const Json& document, const Responses& responses);
MetricValues infinitebench_results_code_debug(const Json& document, const Responses& responses);
MetricValues infinitebench_results_code_run(const Json& document, const Responses& responses);
MetricValues infinitebench_results_int_match(const Json& document, const Responses& responses);
MetricValues infinitebench_results_kv(const Json& document, const Responses& responses);
MetricValues infinitebench_results_math(const Json& document, const Responses& responses);
MetricValues infinitebench_results_qa_chn(const Json& document, const Responses& responses);
MetricValues infinitebench_results_qa_en(const Json& document, const Responses& responses);
MetricValues japanese_mgsm_process_results(const Json& document, const Responses& responses);
MetricValues longbench_classification(const Json& document, const Responses& responses);
MetricValues longbench_count(const Json& document, const Responses& responses);
MetricValues longbench_qa_f1(const Json& document, const Responses& responses);
MetricValues longbench_retrieval(const Json& document, const Responses& responses);
MetricValues longbench_retrieval_zh(const Json& document, const Responses& responses);
MetricValues mlqa_results_ar(const Json& document, const Responses& responses);
MetricValues mlqa_results_de(const Json& document, const Responses& responses);
MetricValues mlqa_results_en(const Json& document, const Responses& responses);
MetricValues mlqa_results_es(const Json& document, const Responses& responses);
MetricValues mlqa_results_hi(const Json& document, const Responses& responses);
MetricValues mlqa_results_vi(const Json& document, const Responses& responses);
MetricValues mlqa_results_zh(const Json& document, const Responses& responses);
MetricValues mutual_process_results(const Json& document, const Responses& responses);
MetricValues noridiom_process_results(const Json& document, const Responses& responses);
MetricValues norquad_process_results(const Json& document, const Responses& responses);
MetricValues record_process_results(const Json& document, const Responses& responses);
MetricValues score_options_agieval(const Json& document, const Responses& responses);
MetricValues score_options_mmlu_pro(const Json& document, const Responses& responses);
MetricValues score_prompts_agieval(const Json& document, const Responses& responses);
MetricValues score_prompts_mmlu_pro(const Json& document, const Responses& responses);
MetricValues score_sampled_agieval(const Json& document, const Responses& responses);
MetricValues score_sampled_mmlu_pro(const Json& document, const Responses& responses);
MetricValues spanish_bbq_process_results(const Json& document, const Responses& responses);
MetricValues squad2_process_results(const Json& document, const Responses& responses);
MetricValues truthfulqa_multi_process_results_mc2(const Json& document, const Responses& responses);
MetricValues truthfulqa_process_results_bleu(const Json& document, const Responses& responses);
MetricValues truthfulqa_process_results_gen(const Json& document, const Responses& responses);
MetricValues truthfulqa_process_results_mc2(const Json& document, const Responses& responses);
MetricValues tydiqa_results(const Json& document, const Responses& responses);
MetricValues tydiqa_results_ar(const Json& document, const Responses& responses);
MetricValues tydiqa_results_en(const Json& document, const Responses& responses);
MetricValues wikitext_process_results(const Json& document, const Responses& responses);
MetricValues xquad_process_results(const Json& document, const Responses& responses);

// Documents that process_results can score
void ifeval_check_document(const Json& document);

// Aggregations
double afriqa_f1(const std::vector<Json>& values);
double basque_vaxx_f1(const std::vector<Json>& values);
double bbq_accuracy_open(const std::vector<Json>& values);
double bbq_accuracy_told(const std::vector<Json>& values);
double bbq_bias_open(const std::vector<Json>& values);
double bbq_bias_told(const std::vector<Json>& values);
double cb_multi_f1(const std::vector<Json>& values);
double evalita_entities_f1(const std::vector<Json>& values);
double evalita_feeling_f1(const std::vector<Json>& values);
double evalita_relations_f1(const std::vector<Json>& values);
double evalita_words_f1(const std::vector<Json>& values);
double ifeval_instruction_accuracy(const std::vector<Json>& values);
double macro_f1(const std::vector<Json>& values);
double mean_without_error(const std::vector<Json>& values);
double micro_f1(const std::vector<Json>& values);
double score_options_consistency(const std::vector<Json>& values);
double score_prompt_consistency(const std::vector<Json>& values);
double score_sampled_accuracy(const std::vector<Json>& values);
double score_sampled_macro_accuracy(const std::vector<Json>& values);
double span_f1(const std::vector<Json>& values);
double spanish_bbq_accuracy(const std::vector<Json>& values);
double spanish_bbq_bias_open(const std::vector<Json>& values);
double spanish_bbq_bias_told(const std::vector<Json>& values);
double squad2_answered_exact(const std::vector<Json>& values);
double squad2_answered_f1(const std::vector<Json>& values);
double squad2_best_exact(const std::vector<Json>& values);
double squad2_best_f1(const std::vector<Json>& values);
double squad2_exact(const std::vector<Json>& values);
double squad2_f1(const std::vector<Json>& values);
double squad2_unanswered_exact(const std::vector<Json>& values);
double squad2_unanswered_f1(const std::vector<Json>& values);
double weighted_f1(const std::vector<Json>& values);

// SCORE's accuracy with one prompt (its number) or with the right option in one place (its letter): `key`
double score_accuracy(const std::vector<Json>& values, const Json& key, bool by_category);

template <int kPrompt, bool kByCategory>
double score_prompt(const std::vector<Json>& values) {
  return score_accuracy(values, kPrompt, kByCategory);
}

template <char kOption, bool kByCategory>
double score_option(const std::vector<Json>& values) {
  return score_accuracy(values, std::string(1, kOption), kByCategory);
}

// construct_requests
std::vector<Asked> squad2_construct_requests(const Json& document);

}  // namespace evalmpi::task::native
