"""What the test loop does around the model: shares, drawings, files."""

import io
import logging
from types import SimpleNamespace

import pytest
from mmengine.structures import BaseDataElement
from PIL import Image

from mmllava.benchmarks.protocols import FollowUp
from mmllava.evaluation.test_loop import DrawPredictionsHook, ask_follow_up, take_share
from tests.conftest import MODELS
from tools import test as tool


@pytest.mark.parametrize('processes', [1, 2, 3, 4, 7, 16])
def test_every_process_has_a_share_even_where_there_are_more_of_them_than_samples(processes):
    shares = [take_share('abc', rank, processes) for rank in range(processes)]
    assert len({len(own) for own in shares}) == 1 and shares[0]
    gathered = [own[k] for k in range(len(shares[0])) for own in shares]
    assert ''.join(gathered[:3]) == 'abc'  # mmengine takes one of each in turn, and so many


def test_each_question_has_its_drawing_and_what_is_not_drawn_is_told(tmp_path, caplog):
    data = io.BytesIO()
    Image.new('RGB', (40, 30)).save(data, 'PNG')
    infos = [{}, {}, dict(img=data.getvalue()), {}]
    dataset = SimpleNamespace(get_data_info=infos.__getitem__)
    logger = logging.getLogger('drawn')
    runner = SimpleNamespace(
        logger=logger,
        test_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset)),
    )
    path = str(MODELS / 'images/0.png')
    rows = [('a/1', path), (2, path), (3, None), (4, [])]
    samples = []
    for number, (id_, where) in enumerate(rows):
        sample = BaseDataElement(metainfo=dict(sample_idx=number, question_id=id_, img_path=where))
        sample.pred_answer = 'yes'
        samples.append(sample)
    hook = DrawPredictionsHook(str(tmp_path))
    with caplog.at_level(logging.WARNING, 'drawn'):
        hook.after_test_iter(runner, 0, outputs=samples)
        hook.after_test(runner)
    assert sorted(f.name for f in tmp_path.iterdir()) == ['0_2.png', '0_a_1.png', '3.png']
    assert caplog.messages == ['not drawn: 1 answers, which have no image']


def test_a_result_file_is_written_whole_or_stays_as_it_was(tmp_path):
    file = tmp_path / 'out.json'
    tool.dump(dict(a=1), str(file))
    with pytest.raises(TypeError):
        tool.dump(dict(a=object(), b=2), str(file))
    assert file.read_text() == '{"a":1}' or file.read_text() == '{"a": 1}'
    assert [f.name for f in tmp_path.iterdir()] == ['out.json']


def test_a_second_answer_goes_on_after_the_first_and_a_failed_sample_stays_failed():
    class Model:
        asked = None

        def data_preprocessor(self, batch, training):
            return dict(images=batch['inputs'], data_samples=batch['data_samples'])

        def __call__(self, images, data_samples, mode, max_new_tokens):
            self.asked = [sample.get('begun') for sample in data_samples], mode, max_new_tokens
            for sample in data_samples:
                sample.set_field(None if sample.get('error') else 'B.', 'pred_answer')
            return data_samples

    samples = [BaseDataElement(pred_answer='It is so.'), BaseDataElement(pred_answer=None)]
    samples[1].set_field('no image', 'error')
    model, batch = Model(), dict(inputs=[1, 2], data_samples=samples)
    found = ask_follow_up(model, batch, samples, FollowUp(' ###\nANSWER:', '\n The answer is ', 64))
    assert model.asked == (['It is so. ###\nANSWER:', ''], 'predict', 64)
    assert [s.get('pred_answer') for s in found] == ['It is so.\n The answer is B.', None]
    assert not any('begun' in s for s in found)
