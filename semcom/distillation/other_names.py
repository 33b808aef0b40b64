"""Names of other code for what there is here, and what there is instead of what there is not."""

EITHER_WEIGHT = ("alpha", "kd_alpha", "distill_alpha", "distillation_alpha")
"""Of the soft loss in some code, of the hard loss in other."""
SOFT_WEIGHT = (
    "alpha_kd",
    "distil_weight",
    "distillation_loss_weight",
    "distillation_weight",
    "kd_loss_weight",
    "kd_ratio",
    "kd_weight",
    "lambda_",
    "lambda_kd",
    "lambda_param",
    "soft_loss_weight",
    "soft_target_loss_weight",
    "soft_weight",
)
HARD_WEIGHT = (
    "alpha_ce",
    "ce_loss_weight",
    "ce_weight",
    "hard_label_weight",
    "hard_loss_weight",
    "hard_weight",
    "student_loss_weight",
)

_OURS: dict[str, tuple[str, ...]] = {
    "temperature": ("T", "temp", "tau", "kd_T", "kd_temperature", "distill_temperature"),
    "student": ("student_model", "student_net", "model_s", "model_S", "net_s", "model"),
    "teacher": (
        "teacher_model",
        "teacher_net",
        "model_t",
        "model_T",
        "net_t",
        "teachers",
        "teacher_models",
    ),
    "settings": (
        "config",
        "cfg",
        "distill_config",
        "loss",
        "loss_fn",
        "criterion",
        "distillation_loss",
        "distillation_loss_fn",
    ),
    "teacher_weights": ("weights", "ensemble_weights"),
    "lr": ("learning_rate", "base_lr"),
    "clip": ("grad_clip", "clip_grad", "clip_grad_norm", "gradient_clip_val", "max_grad_norm"),
    "batches": (
        "data",
        "dataloader",
        "loader",
        "train",
        "train_data",
        "train_dataloader",
        "train_dataset",
        "train_loader",
        "trainloader",
    ),
    "validation": (
        "eval_data",
        "eval_dataset",
        "eval_loader",
        "test_data",
        "test_loader",
        "testloader",
        "val",
        "val_data",
        "val_dataloader",
        "val_loader",
        "valid_loader",
        "validation_data",
        "validation_loader",
    ),
    "epochs": ("epoch", "max_epochs", "n_epochs", "nepochs", "num_epochs", "num_train_epochs"),
    "optimizer": ("optim", "opt", "student_optimizer"),
    "scheduler": ("lr_scheduler", "scheduler_class", "student_scheduler"),
    "early_stopping": ("early_stopping_patience", "patience"),
    "on_epoch": ("callback", "callbacks", "log", "logdir"),
}
OURS = {theirs: ours for ours, names in _OURS.items() for theirs in names}
"""What other code calls it -> its name here."""

_TRAINING = (
    "distill",
    "distill_knowledge",
    "run",
    "step",
    "train",
    "train_epoch",
    "train_model",
    "train_student",
)
_SAVING = ("save", "save_model", "save_pretrained", "save_student", "save_weights")
_SAVE = "torch.save(distiller.student.state_dict(), 'student.pt')"
_LABELS = "Distiller(teacher, None, DistillationConfig(distill_weight=0)).fit(train_loader, epochs)"
NOTES = {
    "args": "is not needed: settings, epochs and learning rate are given one by one",
    "training_args": "is not needed: settings, epochs and learning rate are given one by one",
    "batch_size": "is the DataLoader's",
    "metrics": "are not chosen: the history has validation cross-entropy and accuracy",
    "num_classes": "is seen from the logits",
    "save_path": f"is not needed: {_SAVE} after fit; save_to= keeps the state of the training",
    "seed": "is semcom.set_seed(0)",
    "compute_metrics": "are not chosen: the history has validation cross-entropy and accuracy",
    "student_loss_fn": "is cross-entropy, always",
    "teacher_optimizer": f"is of a training of its own: {_LABELS}",
    "teacher_scheduler": f"is of a training of its own: {_LABELS}",
    "verbose": "has an opposite here, quiet=True",
    "x": "and y are DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)",
    "y": "and x are DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)",
}
METHODS = {
    "call": "type distiller.student(inputs)",
    "cuda": "type Distiller(…, device='cuda')",
    "compile": "it needs none: Distiller(student, teacher, settings), then fit(…, optimizer=…)",
    "eval": "type distiller.student.eval()",
    "get_parameters": "type semcom.compare_models(teacher, student)",
    "history": "type history = distiller.fit(…), a list with a row an epoch",
    "load": "type distiller.student.load_state_dict(torch.load('student.pt'))",
    "load_state_dict": "type distiller.student.load_state_dict(…)",
    "parameters": "type distiller.student.parameters()",
    "plot": "type semcom.plot_training_curves(history, 'curves.png')",
    "plot_history": "type semcom.plot_training_curves(history, 'curves.png')",
    "predict": "type distiller.student(inputs)",
    "state_dict": "type distiller.student.state_dict()",
    "summary": "type semcom.compare_models(teacher, student)",
    "to": "type Distiller(…, device=…)",
    "train_teacher": f"type {_LABELS}",
    **dict.fromkeys(_TRAINING, "type distiller.fit(train_loader, epochs, validation=val_loader)"),
    **dict.fromkeys(_SAVING, f"type {_SAVE}"),
    **dict.fromkeys(
        ("eval_student", "evaluate_model", "test", "validate"), "type distiller.evaluate(test_loader)"
    ),
}
"""What ``Distiller`` does not have -> what there is."""


NAMES = {
    "DistillationLoss": ("SoftTarget",),
    "Distiller": ("DistillationModel", "train_student", "train_teacher"),
    "Distiller, whose teacher may be a list": (
        "EnsembleDistiller",
        "MultiTeacherDistillation",
        "MultiTeacherDistiller",
    ),
    "early_stopping= of Distiller.fit": ("EarlyStopping",),
    "Distiller.evaluate": ("evaluate", "Evaluator"),
    "plot_training_curves": ("plot_history", "plot_training_history", "plot_losses"),
    "any torch.nn.Module of yours": ("StudentModel", "Student", "TeacherModel", "Teacher"),
}
"""What ``semcom`` has -> names that other code has for it."""
ENDINGS = {
    "DistillationLoss": ("loss", "kl"),
    "Distiller": ("distillation", "distiller", "kd", "trainer"),
    "DistillationConfig": ("arguments", "config"),
}
"""The same -> ends of other names for it, whatever their case."""
