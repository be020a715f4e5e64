"""Each file of the package has a test file of its name, or one that is named here."""

from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / 'mmllava'
#: source -> the test file that covers it, where there is none of its own name
TESTED_IN = {
    'checkpoints/conversion/journal.py': 'test_checkpoints/test_conversion/test_run.py',
    'checkpoints/conversion/manifest.py': 'test_tools/test_convert.py',
    'checkpoints/conversion/progress.py': 'test_tools/test_convert.py',
    'checkpoints/conversion/sidecar_files.py': 'test_checkpoints/test_conversion/test_prepare.py',
    'checkpoints/conversion/stream.py': 'test_checkpoints/test_conversion/test_run.py',
    'checkpoints/conversion/verify.py': 'test_tools/test_convert.py',
    'checkpoints/layouts/from_canonical.py': 'test_checkpoints/test_conversion/test_prepare.py',
    'checkpoints/layouts/hf_config.py': 'test_checkpoints/test_layouts/test_transformers_parity.py',
    'checkpoints/layouts/hf_processor.py': (
        'test_checkpoints/test_layouts/test_transformers_parity.py'
    ),
    'checkpoints/layouts/hf_tokenizer.py': (
        'test_checkpoints/test_layouts/test_transformers_parity.py'
    ),
    'checkpoints/layouts/llava_files.py': 'test_checkpoints/test_layouts/test_delta.py',
    'checkpoints/layouts/partial.py': 'test_training/test_checkpoint.py',
    'checkpoints/layouts/tensor_plan.py': 'test_checkpoints/test_layouts/test_delta.py',
    'checkpoints/layouts/to_canonical.py': 'test_checkpoints/test_conversion/test_prepare.py',
    'checkpoints/layouts/validate.py': 'test_checkpoints/test_conversion/test_prepare.py',
    'checkpoints/storage/lock.py': 'test_checkpoints/test_storage/test_atomic.py',
    'checkpoints/storage/safetensors_file.py': 'test_checkpoints/test_storage/test_reader.py',
    'checkpoints/storage/sentencepiece.py': 'test_checkpoints/test_layouts/test_delta.py',
    'checkpoints/storage/tensor_entry.py': 'test_checkpoints/test_storage/test_reader.py',
    'checkpoints/storage/tensor_pickle.py': 'test_checkpoints/test_storage/test_torch_file.py',
    'checkpoints/storage/writer.py': 'test_checkpoints/test_storage/test_direct_io.py',
    'datasets/collate.py': 'test_datasets/test_instruct.py',
    'errors.py': 'test_architecture.py',
    'generation/prefixes.py': 'test_generation/test_engine.py',
    'generation/request.py': 'test_generation/test_engine.py',
    'generation/sampling.py': 'test_generation/test_engine.py',
    'generation/slots.py': 'test_generation/test_engine.py',
    'metrics/ptb_rules.py': 'test_metrics/test_ptb.py',
    'metrics/ptb_tables.py': 'test_metrics/test_ptb.py',
    'metrics/vqa_tables.py': 'test_metrics/test_vqa.py',
    'models/hf_config.py': 'test_training/test_from_nothing.py',
    'models/packed_attention.py': 'test_training/test_packing.py',
    'prompts/conversation.py': 'test_prompts/test_encode.py',
    'prompts/labels.py': 'test_prompts/test_encode.py',
    'prompts/presets.py': 'test_prompts/test_encode.py',
    'prompts/render.py': 'test_prompts/test_templates.py',
    'structures.py': 'test_prompts/test_encode.py',
    'teacher/budget.py': 'test_teacher/test_client.py',
    'teacher/cache.py': 'test_teacher/test_client.py',
    'teacher/cli.py': 'test_tools/test_misc/test_generate_data.py',
    'teacher/data_report.py': 'test_teacher/test_generate.py',
    'teacher/image_context.py': 'test_teacher/test_generate.py',
    'teacher/parse.py': 'test_teacher/test_generate.py',
    'teacher/prompts.py': 'test_teacher/test_generate.py',
    'teacher/scienceqa_ensemble.py': 'test_tools/test_misc/test_scienceqa_ensemble.py',
    'training/config_settings.py': 'test_training/test_config_check.py',
    'training/hooks.py': 'test_training/test_schedulers.py',
    'training/loop.py': 'test_training/test_golden.py',
    'training/lora.py': 'test_training/test_checkpoint.py',
    'training/optim.py': 'test_training/test_stages.py',
    'training/rng.py': 'test_training/test_validation.py',
    'training/runner.py': 'test_training/test_resuming.py',
    'version.py': 'test_setup.py',
}


def own_test(source: Path) -> str:
    """Gives tests/test_<folder>/test_<file>.py of a source file, below tests."""
    return '/'.join(f'test_{part}' for part in source.parts)


def sources() -> list[Path]:
    files = (f.relative_to(PACKAGE) for f in PACKAGE.rglob('*.py') if f.name != '__init__.py')
    return sorted(f for f in files if '.mim' not in f.parts)


def test_every_source_file_has_a_test_file_that_a_reader_finds():
    lost = [str(s) for s in sources() if not (TESTS / own_test(s)).is_file()]
    assert sorted(lost) == sorted(TESTED_IN), 'name the test file, or add one'


def test_the_table_names_test_files_that_are_there():
    assert not [test for test in TESTED_IN.values() if not (TESTS / test).is_file()]
