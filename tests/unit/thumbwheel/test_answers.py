import pytest

from thumbwheel.answers import flags

GOOD = [
    "Category: quality fault. Next step: we send you a free return label.",
    "谢谢您的反馈。这属于质量问题，我们会为您免费办理退货，请在七天内寄回。",
    "カメラの電源が入らない場合は、バッテリーを充電してからもう一度お試しください。",
    "Да, конечно. Мы вернём деньги в течение пяти дней.",
    "1. Open the lid\n2. Press the button\n3. Wait\n4. Close the lid\n5. Try again\n6. Call us",
    "iPhone 与 iPad 都可以：ありがとう, 감사합니다!",
    "ok",
]


@pytest.mark.parametrize("text", GOOD)
def test_good_answers_have_no_flags(text: str) -> None:
    assert flags(text, "stop") == []


def test_empty_and_truncated() -> None:
    assert flags(" \n", "stop") == ["empty"]
    assert flags("so far so", "length") == ["truncated"]


@pytest.mark.parametrize(
    "text",
    [
        "the the the " * 30,
        "好的好的" * 40,
        "ok \ufffd\ufffd\ufffd then",
        "qué это 하나 一二三 かな αβγ ไทย שלום слово mix",
    ],
)
def test_degenerate(text: str) -> None:
    assert "degenerate" in flags(text, "stop")


# What one language writes together, with names, units, formulae and faces in it, and lists of languages.
ONE_LANGUAGE = [
    "請求書はPDFでメールに添付してお送りします。",
    "HDMIケーブルをテレビの入力1に差し込む",
    "AWSのコンソールからS3バケットを選び、アクセス権限を編集します。",
    "docker image prune -a で、使われていないイメージがすべて消えます",
    "抵抗は10kΩ、コンデンサーは4.7μFのものをArduinoのピンに接続します。",
    "ﾊﾟｿｺﾝのﾃﾞｽｸﾄｯﾌﾟでＥｘｃｅｌファイルを開き、保存ボタンを押します",
    "ＵＳＢケーブルをｽﾏﾎに差し込んでください、ランプが点灯します(´・ω・`)",
    "(ﾟДﾟ)びっくりですが、Wi-Fiのルーターを再起動すれば直ります щ(ﾟДﾟщ)",
    "대한민국(大韓民國)의 GDP는 漢字로 國內總生産이라고 씁니다.",
    "한국어 서비스에서 α 버전과 β 버전의 API를 漢字 이름으로 찾으세요",
    "กรุณาเปิดแอป LINE แล้วกดปุ่ม Settings เพื่อรีสตาร์ทเครื่อง",
    "ใช้ตัวต้านทาน 10 kΩ กับ Arduino แล้ววัดแรงดัน μV ที่ขา A0",
    "注音符號ㄅㄆㄇㄈ可以用Windows的輸入法打，電阻單位是Ω，角度單位是°",
    "用Ω表示电阻，單位ㄅㄆㄇ，PDF看第三页，カタカナ也可以",
    "Нажмите Ctrl+C, затем откройте файл config.yaml и измените параметр λ = 0,5.",
    "Η μονάδα USB πρέπει να συνδεθεί στη θύρα HDMI της τηλεόρασης.",
    "העלו את קובץ ה-PDF דרך Gmail ולחצו על שליחה",
    "افتح تطبيق WhatsApp ثم اضغط على Settings لتغيير اللغة",
    "कृपया Settings खोलें और Wi-Fi को बंद करके फिर से चालू करें।",
    "வணக்கம், உங்கள் PDF கோப்பை Gmail வழியாக அனுப்பவும்.",
    "Ångström (Å) = 10⁻¹⁰ m, 1 K ≙ 1 K, 5 µm, 3 Ω, ª º ﬁ, 𝑓(𝑥) = 𝛼𝑥² + 𝛽, ℵ₀, ∑ᵢ xⁱ ʰ ː",
    "The Schrödinger equation iħ∂ψ/∂t = Ĥψ, with ħ = h/2π and ℏω = E",
    "English, 中文, 日本語, 한국어, ไทย, Русский, العربية, עברית, हिन्दी",
    "支持的语言：中文、日本語、한국어、ไทย、Русский、العربية、Ελληνικά",
    "Languages: 中文 (Chinese) / 日本語 (Japanese) / 한국어 (Korean) / ไทย (Thai) / Русский (Russian) / العربية",
    "Please translate the word 你好 as привет for Russian users and 안녕 for the Korean app version",
    "ʕ•ᴥ•ʔ ಠ_ಠ 没问题，已经为您重新安装了 App，请重启手机再试 ლ(ಠ益ಠლ)",
    "々〆ヶ月の契約はVIPプランで、佐々木様のアカウントに適用されます",
    "Die Straße heißt „Größe“ auf Deutsch, улица auf Russisch, 街 auf Chinesisch",
    "გთხოვთ გახსნათ PDF ფაილი და დააჭიროთ Print ღილაკს",
    "Խնդրում ենք բացել PDF ֆայլը և սեղմել Print կոճակը",
    "ကျေးဇူးပြု၍ Wi-Fi ကို ပိတ်ပြီး ပြန်ဖွင့်ပါ။",
    "សូមបើកកម្មវិធី Telegram ហើយចុច Settings ម្តងទៀត",
    "Thủ tục hoàn tiền mất 3–5 ngày; vui lòng mở ứng dụng VNPay.",
    "日本語とEnglishと한국어のメニューがあり、Settingsから変更できます。",
]
NO_LANGUAGE = [
    "the करने 的是 для ของ 있는 שלא και token मैं в",
    "请打开 приложение ของคุณ 그리고 press שלום كيف",
    "function 하는 возможно 以及 المستخدم กำลัง return स्थिति",
    "答案 είναι 있습니다 หรือ может बहुत answer",
    "Sure, the 회원 может 退款 ภายใน seven היום вашего",
    "返品は возможно 하는데 ของ the लेकिन 注文 order",
    "abc где 한국어 漢字 где abc 하나 где 一二三",
    "ผม очень 喜欢 the 하루 очень ของ 喜欢 هذا 하루",
    "aбγדกx한яλת字กคxδж한ה的रаבγд한ก字xל",
]


@pytest.mark.parametrize("text", ONE_LANGUAGE)
def test_what_people_write_together_is_no_mixture(text: str) -> None:
    assert flags(text, "stop") == []


@pytest.mark.parametrize("text", NO_LANGUAGE)
def test_words_of_many_languages_unparted_are_one(text: str) -> None:
    assert flags(text, "stop") == ["degenerate"]
