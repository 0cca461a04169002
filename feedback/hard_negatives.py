"""Pairs of questions that stand among the same words and mean different things: what a model of embeddings is asked
first. How near it lays the nearest of them says how far its nearness can be believed.

They are of no channel, so a house's own rows cannot move the measure. Chinese and English. As many as one request
holds, since some servers take 32 texts and no more.
"""

from __future__ import annotations

PAIRS = (
    ("Where can I buy a lamp?", "Where can I buy a kettle?"),
    ("May I bring my dog?", "May I bring my cat?"),
    ("Do you deliver to Spain?", "Do you deliver to Italy?"),
    ("Is the pool open on Monday?", "Is the pool open on Tuesday?"),
    ("Can I cancel my booking?", "Can I change my booking?"),
    ("My screen is too dark, what can I do?", "My screen is too bright, what can I do?"),
    ("How do I turn on the alarm?", "How do I turn off the alarm?"),
    ("Can children take this medicine?", "Can pregnant women take this medicine?"),
    ("哪里可以买到雨伞？", "哪里可以买到手套？"),
    ("可以带狗入住吗？", "可以带猫入住吗？"),
    ("杭州的门店几点开门？", "南京的门店几点开门？"),
    ("周一营业吗？", "周二营业吗？"),
    ("怎么取消预约？", "怎么更改预约？"),
    ("屏幕太暗了怎么办？", "屏幕太亮了怎么办？"),
    ("如何开启闹钟？", "如何关闭闹钟？"),
    ("老人能吃这个药吗？", "小孩能吃这个药吗？"),
)
TEXTS = tuple(text for pair in PAIRS for text in pair)
"""Each pair's two, one after the other."""
