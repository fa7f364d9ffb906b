"""Replies that a rule of the strict parser could read wrongly, beside those it is for."""

import pytest

from aloe_bench.answers.strict.choice import parse_choice, parse_yes_no

BRAIN = ["Glioma", "Meningioma", "Pituitary tumor", "No tumor"]
CHEST = ["Observation", "Needle decompression", "Chest tube placement", "Thoracotomy"]
VITAMINS = ["Vitamin A", "Vitamin B12", "Vitamin C", "Vitamin D", "Vitamin K"]
REQUEST = "Answer with the letter of the correct option only."
LIST = "A. Glioma\nB. Meningioma\nC. Pituitary tumor\nD. No tumor"


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("<unused94>thought\nA or B?<unused95>C", "C"),
        ("<unused94>thought\nB", None),
        ("<|channel|>analysis<|message|>Not A.<|end|><|start|>assistant<|channel|>final<|message|>C", "C"),
        ("<|channel|>analysis<|message|>B", None),
        ("analysisWe need to pick. A or B?assistantfinalC", "C"),
        ("analysisWe need to pick. B", None),
        ("Assistant: C", "C"),
        ("Assistant: I cannot say", None),
        ("Assistant: B or C", None),
        ("USER: Which? A. Glioma B. Meningioma ASSISTANT: B", "B"),
        ("USER: Which? A. Glioma B. Meningioma ASSISTANT: I cannot say.", None),
        ("C\n\nQuestion: Which artery?\nA. Splenic\nAnswer: B", "C"),
        ("C\nUser: thanks\nAssistant: Answer: A", "C"),
        ("Question: What is it? Answer: B", "B"),
        ("<answer>B</answer>\n\nQuestion: next?\n<answer>C</answer>", "B"),
        (f"What is it?\n{LIST}\n{REQUEST}\nA", "A"),
        (f"What is it?\n{LIST}\n{REQUEST}", None),
        (f"C\n\nWhat is it?\n{LIST}\n{REQUEST}\nA", None),
        (f"B\n{REQUEST}\nC", None),
        (f"{REQUEST} B or C", None),
    ],
)
def test_the_answer_is_what_the_model_says_in_its_own_turn(reply, letter):
    assert parse_choice(reply, BRAIN).letter == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("<b>C</b>", "C"),
        ("<option>A</option>", "A"),
        ("<option>A</option><option>B</option>", None),
        ("<b>Not C</b>", None),
        ("~~A~~ B", "B"),
        ("~~A~~", None),
        ('{"selected_option": "C", "explanation": "A and B are benign."}', "C"),
        ('{"selected_option": "A", "final_answer": "B"}', None),
        ('{"incorrect_option": "A"}', None),
        ('{"answer_letter": "B", "answer_text": "Meningioma"}', "B"),
        ('{"answer_letter": "B", "answer_text": "Glioma"}', None),
    ],
)
def test_markup_is_no_part_of_an_answer(reply, letter):
    assert parse_choice(reply, BRAIN).letter == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("Most likely C, although a biopsy would be needed.", "C"),
        ("Probably D.", "D"),
        ("Probably D or E", None),
        ("Probably D or C", None),
        ("The answer is probably not D.", None),
        ("Most likely A, B or C.", None),
        ("Most likely C, but could be D", None),
        ("Most likely a, or maybe b", None),
        ("Likely a glioma. B", None),
        ("Clearly, A and B are wrong.", None),
        ("Answer: A or possibly C", None),
        ("Answer: A (or possibly C)", None),
        ("Answer: A. Could also be C.", None),
        ("B oder C", None),
        ("B或C", None),
        ("B–C", None),
        ("A: 20%, B: 20%, C: 60%", None),
        ("A (20%), B (60%)", None),
        ("A: plausible. B: unlikely. C: no.", None),
        ("A. B. C.", None),
        ("B (95% confidence)", "B"),
        ("Answer: B, I think.", "B"),
        ("A. Wait, that is not right. Let me", None),
        ("The answer is A. Hmm, let me re-check the image", None),
        ("A. Wait, let me reconsider. The answer is B", "B"),
        ("C. Sorry, I meant A.", None),
        ("A\n\nThe answer is C.", None),
        ("<answer>B</answer> Wait, that is not right.", None),
        ("The diagnosis is meningioma. Wait, that is not right.", None),
        ("So, (A) (B)", None),
        ("So, A. Glioma\nB. Meningioma\nC. Pituitary tumor", None),
        ("Looking carefully, B. Glioma", None),
        ("Looking carefully, B. Meningioma", "B"),
        ("Looking carefully, B. Meningioma\nC. Pituitary tumor", None),
        ("A or", None),
        ("The answer is D. A, B and C would show a mass.", "D"),
        ("so B", "B"),
        ("So A and B are wrong", None),
    ],
)
def test_a_letter_that_is_doubted_shared_or_one_of_a_list_is_no_answer(reply, letter):
    assert parse_choice(reply, BRAIN).letter == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("【答案】B", "B"),
        ("【答案】B,C", None),
        ("选项A", "A"),
        ("选项A是错误的", None),
        ("答案是B型肝炎", None),
        ("正解はBです。", "B"),
        ("正解はBではありません", None),
        ("정답은 C입니다.", "C"),
        ("정답은 C가 아닙니다", None),
        ("Die Antwort lautet: B.", "B"),
        ("Antwort: B oder C", None),
        ("La resposta correcta és l'A.", "A"),
        ("La resposta no és B.", None),
        ("C'est la réponse B.", "B"),
        ("Ce n'est pas la réponse B.", None),
        ("Descarto la respuesta A", None),
    ],
)
def test_announcements_of_other_languages(reply, letter):
    assert parse_choice(reply, BRAIN).letter == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("Not B. C.", "C"),
        ("The mass does not enhance. D.", "D"),
        ("I see a mass in a single view.\nC", "C"),
        ("The mass is in the right lobe. A", None),
        ("The mass is in the right lobe. A.", "A"),
        ("This is a glioma. B.", None),
        ("The diagnosis is glioma. B", None),
        ("A is wrong. B is wrong. C", None),
        ("A. Glioma lies inside.\nB. Meningioma is\nC", None),
        ("See Fig. B", None),
        ("Hepatitis: B", None),
        ("I can't determine it. D", None),
        ("Is it A or B? B", None),
    ],
)
def test_a_last_sentence_that_is_a_letter(reply, letter):
    assert parse_choice(reply, BRAIN).letter == letter


@pytest.mark.parametrize(
    ("reply", "choices", "letter"),
    [
        ("B\n\nVitamin D deficiency would soften bone, and vitamin C deficiency cause scurvy.", VITAMINS, "B"),
        ("B\n\nVitamin D deficiency would soften bone.", VITAMINS, None),
        ("B\n\nExplanation: Option C follows once decompressed and option A would be fatal.", CHEST, "B"),
        ("B\n\nExplanation: Option C would be the best choice here.", CHEST, None),
        ("B\n\nHowever, the best answer is chest tube placement.", CHEST, None),
        ("B\n\nThe trachea is deviated. Therefore, thoracotomy.", CHEST, None),
        ("B\n\nOn reflection, it should be a chest tube.", CHEST, None),
        ("B\n\nHowever, the tube should go in at once.", CHEST, None),
        ("B\n\nOption C is also reasonable in this patient.", CHEST, None),
        ("B\n\nIn conclusion, the treatment of choice is C.", CHEST, None),
        ("B\n\nRather, C fits better with the image.", CHEST, None),
        ("A\n\nlarge left-sided opacity is seen.", CHEST, None),
        ("B\n\nIt could be C or D.", CHEST, None),
        ("B\n\nI am not sure about this one.", CHEST, None),
        ("A\n\nIncorrect. The mass is not in the brain.", BRAIN, None),
        ("B\n\nGlioma", BRAIN, None),
        ("A\nB\nC", BRAIN, None),
        ("D\n\nThere is no tumor seen in this image.", BRAIN, "D"),
        ("B. Meningioma\n\nNot glioma, because it is extra-axial.", BRAIN, "B"),
        ("B. Meningioma\n\nIncorrect.", BRAIN, None),
    ],
)
def test_a_letter_alone_on_the_first_line_with_an_explanation(reply, choices, letter):
    assert parse_choice(reply, choices).letter == letter


@pytest.mark.parametrize(
    ("reply", "choices", "letter"),
    [
        ("The answer is Vitamin K. Vitamin A is not involved.", VITAMINS, "E"),
        ("Vitamins A and D are fat soluble too. The answer is vitamin K.", VITAMINS, "E"),
        ("The answer is vitamin E.", VITAMINS, None),
        ("The patient lacks vitamin B12. C", VITAMINS, None),
        ("The answer is glioma or meningioma.", BRAIN, None),
        ("The answer is glioma. However, meningioma is possible.", BRAIN, None),
        ("The answer is 3.", ["1", "2", "3"], "C"),
        ("Answer: 1.5", ["1", "2", "3"], None),
        ("Answer: 3 cm", ["1", "2", "3"], None),
        ("The differential diagnosis is glioma.", BRAIN, None),
        ("Hence glioma is excluded.", BRAIN, None),
        (
            "Each option:\n\nA. Observation - for small ones.\nB. Needle decompression - for tension.\n"
            "Hence needle decompression is the best next step.",
            CHEST,
            "B",
        ),
        ("Each option:\n\nA. Observation - for small ones.\nB. Needle decompression - for", CHEST, None),
        ("最可能的诊断是肺炎。", ["肺炎", "肺结核"], "A"),
        ("诊断不是肺炎。", ["肺炎", "肺结核"], None),
        ("诊断是肺炎或肺结核。", ["肺炎", "肺结核"], None),
        ("诊断是肺炎球菌感染。", ["肺炎", "肺结核"], None),
        ("如果诊断是肺炎。", ["肺炎", "肺结核"], None),
    ],
)
def test_an_options_words_announced_as_the_answer(reply, choices, letter):
    assert parse_choice(reply, choices).letter == letter


@pytest.mark.parametrize(
    ("reply", "choices", "letter"),
    [
        ("Xray", ["CT", "X-ray"], "B"),
        ("500mg", ["50 mg", "500 mg"], "B"),
        ("Neumonia", ["Neumonía", "Neumotórax"], "A"),
        ("4–6 weeks", ["4-6 weeks", "46 weeks"], "A"),
        ("4 6 weeks", ["4-6 weeks", "46 weeks"], None),
        ("46 weeks", ["4-6 weeks", "46 weeks"], "B"),
        ("5", ["-5", "5"], "B"),
        ("−5", ["-5", "5"], "A"),
        ("2.5", ["-2.5", "1.0"], None),
        ("T-score-2", ["T-score -2", "T-score 2"], None),
        ("<10 mm", [">10 mm", "5 mm"], None),
        ("≥5 mm", ["≤5 mm", "≥5 mm"], "B"),
        ("a typical", ["Atypical", "Infectious"], None),
        ("Hyperkalaemia", ["Hypokalemia", "Hyperkalemia"], "B"),
    ],
)
def test_a_whole_reply_equals_an_option_up_to_spelling_and_never_up_to_a_sign(reply, choices, letter):
    assert parse_choice(reply, choices).letter == letter


MODALITIES = ["CT", "MRI", "X-ray"]
ECG = ["Normal", "Abnormal"]
SIDES = ["Left", "Right", "Bilateral"]


@pytest.mark.parametrize(
    ("reply", "choices", "letter"),
    [
        ("The blood group is type AB.", ["Type A", "Type B", "Type AB"], "C"),
        ("It is type A or AB", ["Type A", "Type B", "Type AB"], None),
        ("The ECG is abnormal.", ECG, "B"),
        ("The ECG is not abnormal.", ECG, None),
        ("The heart is normal. There is an effusion.", ECG, None),
        ("Normal heart size but an effusion.", ECG, None),
        ("The heart size is normal. There is an effusion.", ["Normal", "Pneumonia"], None),
        ("Pneumonia is seen.", ["Pneumonia", "Viral pneumonia"], None),
        ("There is no fracture.", ["Fracture", "No fracture"], None),
        ("An extra-axial mass", ["Axial", "Coronal"], None),
        ("Give 2.5 mg", ["5 mg", "10 mg"], None),
        ("CT is the modality shown.", MODALITIES, "A"),
        ("This is a CT.", MODALITIES, "A"),
        ("A CT would be needed", MODALITIES, None),
        ("CT-guided biopsy", MODALITIES, None),
        ("The CT shows hydronephrosis.", MODALITIES, None),
        ("IV contrast was given.", ["III", "IV"], None),
        ("I would need contrast to tell glioma from abscess.", BRAIN, None),
        ("You're right to ask, but the marker isn't visible.", SIDES, None),
        ("That's right, the marker is small.", SIDES, None),
        ("The effusion is on the right side.", SIDES, "B"),
        ("No, there is no pneumothorax.", ["Yes", "No", "Cannot be determined"], "B"),
        ("No, wait, yes.", ["Yes", "No", "Cannot be determined"], None),
        ("No. 3 is correct", ["Yes", "No", "Cannot be determined"], None),
        ("C. difficile colitis. Vancomycin is first line.", ["Metronidazole", "Vancomycin", "Surgery"], "B"),
    ],
)
def test_an_options_words_in_a_sentence(reply, choices, letter):
    assert parse_choice(reply, choices).letter == letter


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        *(
            (r, "yes")
            for r in ("Y", "Yep.", "是的，可见积液。", "有，可见气胸。", "Ja, es liegt ein Erguss vor.", "Oui.")
        ),
        *(
            (r, "no")
            for r in ("N", "Nope.", "没有", "不是，这是正常的。", "Nein, kein Erguss.", "Die Antwort lautet: Nein.")
        ),
        ("Most likely no.", "no"),
        ("I would say no.", "no"),
        ("La resposta és no.", "no"),
        ("No doubt, yes.", "yes"),
        ("There is no effusion. So: yes", "yes"),
        ("Is there a nodule? Answer with yes or no only. No", "no"),
        ("No hay neumotórax.", "no"),
        ("No definite pneumothorax.", "no"),
        ("No, I cannot see a fracture.", "no"),
        ("No... wait, actually the answer is yes.", "yes"),
        ('{"answer": false}', "no"),
        ("Yes\nQuestion: is there a mass?\nAnswer: No", "yes"),
    ],
)
def test_yes_and_no_in_many_words(reply, word):
    assert parse_yes_no(reply).letter == word


@pytest.mark.parametrize(
    "reply",
    [
        "No. 3 is correct",
        "Normal",
        "No, wait, yes.",
        "The answer is no. Wait, let me check.",
        "Most likely no, wait, yes.",
        "No. Actually, on second look there is one. Yes.",
        "Yes. Wait, the line is a skin fold.",
        "Nein. Doch, ja.",
        "不是，是的",
        "The answer is yes. No.",
        "Most likely yes or no",
        "Probably yes, but could be no",
        "Probably not",
        "I wouldn't say no.",
        "No se puede determinar a partir de esta imagen.",
        "No ho puc determinar.",
        "No definitive conclusion can be drawn from this image.",
        "No image was provided.",
        "No, I can't tell.",
        "No doubt.",
        "Yes, I can help.",
        "Yes or no? Yes",
        "Y/N",
        "N/A",
        "Ja/Nein",
        "有没有骨折？",
        "没有提供图像",
        "Si es posible, haga una TC.",
        "Non-contrast CT",
        "No\nAnswer with yes or no only.\nYes",
        "Is there a nodule? Answer with yes or no only.",
        "Assistant: I cannot say",
    ],
)
def test_a_word_that_is_no_answer_to_a_yes_no_question(reply):
    assert parse_yes_no(reply).letter is None


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        # The line that stands apart is the answer, whatever the sentence before it supposes.
        ("If it is urgent, as the film may show, the best next step would be:\n\n**C. Chest tube placement**", "C"),
        ("Si la placa muestra aire, la opción más apropiada sería:\n\n**B. Needle decompression**\n\nEs urgente.", "B"),
        ("The first thing to do, given what could follow, is:\n\n**D. Thoracotomy**.", "D"),
        ("If it is urgent, the best step might be:\n\n**C. Chest tube placement**", None),
        ("If stable, the next step is:\n\n**A. Observation**\n\nIf not, the next step is:\n\n**D. Thoracotomy**", None),
        ("Let's look at the options:\n\nA. Observation\n   - slow.\n\nB. Needle decompression\n   - fast.", None),
        # A conclusion by letter and words outweighs remarks on the others.
        ("- A. Observation is slow.\n- D. Thoracotomy is much.\n\nSo what he gets is B. Needle decompression.", "B"),
        ("- A. Observation is slow.\n\nSo it is B. Needle decompression. But D. Thoracotomy may be better.", None),
        # The question asks for the wrong one.
        ("The incorrect answer is C. Chest tube placement.\n\nThe others are correct:\n* A. Observation: ok.", "C"),
        ("The incorrect answer is C. Chest tube placement.\n* A. Observation: fine.", None),
        ("He needs a tube, which means (C) is the correct answer.", "C"),
        ("I cannot say which of these, or whether (C) is the correct answer.", None),
        ("This gives the correct option letter, C, for the correct answer.", "C"),
        ("Taking these together, I would choose:\n\nC) Chest tube placement", "C"),
        ("The answer is C. Chest tube placement: rapid correction of the shift.", "C"),
        ("The answer is C. Correction: D.", None),
        ("Pressure has to be let out. (B)\n\nDo you have any other questions?", "B"),
        ("回答:C", "C"), ("所以应放管。\n\n选项C。", "C"), ("选项C不对。", None),
        ("したがって、正しい処置は以下の通りです。\n\n**C. Chest tube placement**", "C"),
        ("\u200bC", "C"),
        ("Agora, cada opção:\n\nA. **Observação basta.**\n   - Falso.\n\nPortanto, a opção correta é **C**.", "C"),
        ("Every answer option:\n\nA. It waits.\n   - No.\n\nSo the correct option is **C**.", "C"),
    ],
)  # fmt: skip
def test_kinds_that_fresh_labels_of_real_replies_brought(reply, letter):
    assert parse_choice(reply, CHEST).letter == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("The perimeter is 22 meters.", "A"), ("Hence x = 40", "B"), ("The area is 22, the side 40 meters.", None),
        ("The perimeter is 22 times the side.", None), ("The perimeter is not 22 meters.", None),
        ("It has 22 sides.", None),
    ],
)  # fmt: skip
def test_a_number_is_the_answer_where_the_reply_ends_in_it_and_names_no_other(reply, letter):
    assert parse_choice(reply, ["22", "40", "44", "48"]).letter == letter


def test_the_unit_of_all_options_may_be_left_out():
    lengths = ["$2$ cm", "$3\\sqrt{2}$ cm", "$3$ cm"]
    assert parse_choice("\\boxed{3\\sqrt{2}}", lengths).letter == "B"
    assert parse_choice("\\boxed{3\\sqrt{2}}", ["$3\\sqrt{2}$ cm", "$3\\sqrt{2}$ m"]).letter is None
